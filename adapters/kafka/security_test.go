//go:build cgo

package kafka

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"hexorders/test/certificates"
)

// A broker goes away, comes back, and its certificate has expired meanwhile: the log says both, and each once.
func TestABrokerThatIsRefusedAfterItWasDownIsExplainedOnce(t *testing.T) {
	ca := certificates.New(t, "authority")
	own := ca.Issue(t, "broker", certificates.Wish{Hosts: []string{"127.0.0.1"}, Valid: -time.Minute})
	pair, err := tls.LoadX509KeyPair(own.Certificate, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t)
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	said := &journal{}
	log := &connectionLog{options: Options{
		Brokers: address, Logger: said.logger(), Security: Security{Protocol: "ssl", CA: ca.File},
	}}
	log.lost("connection refused")
	log.lost("connection refused")
	if listener, err = tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go handshakes(listener)
	log.lost("certificate verify failed")
	log.lost("certificate verify failed")
	for _, words := range []string{"connection refused", "the broker's certificate is valid from"} {
		if n := len(said.with("Kafka cannot be reached", words)); n != 1 {
			t.Errorf("%d lines say %q, want 1", n, words)
		}
	}
	if n := len(said.with("Kafka cannot be reached")); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

func handshakes(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.(*tls.Conn).Handshake() // it fails: the client does not accept the certificate
		_ = connection.Close()
	}
}
