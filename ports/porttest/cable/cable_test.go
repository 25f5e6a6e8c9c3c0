package cable

import (
	"bufio"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestACableCarriesUntilItIsCutAndAgainOncePluggedIn(t *testing.T) {
	c := To(t, echo(t))
	conn := dial(t, c)
	wantEcho(t, conn)

	plugIn := c.Cut(t)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection goes on over a cable that was cut")
	}
	if _, err := dial(t, c).Read(make([]byte, 1)); err == nil {
		t.Error("a new connection goes through a cable that was cut")
	}
	plugIn()
	wantEcho(t, dial(t, c))
}

// echo is a server that sends back what it gets.
func echo(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, c *Cable) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func wantEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); got != "hello\n" {
		t.Errorf("got %q and error %v, want it back", got, err)
	}
}
