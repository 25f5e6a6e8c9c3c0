//go:build unix

package sqlite

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func init() {
	children["recover"] = childRecovers
	beginRecovery = func(t testing.TB, path string) (end func()) {
		c := start(t, "recover", path)
		c.wantLine(t, "recovering")
		return func() { c.finish(t) }
	}
}

// childRecovers keeps everyone out of the file until its input ends, readers too, as a process does that rebuilds the
// index of the write-ahead log after a crash: it has all locks of the index, whose header is not valid meanwhile. The next
// process that opens or reads the file rebuilds it (https://www.sqlite.org/walformat.html, sections 2.2 and 2.3).
func childRecovers(ctx context.Context, args []string) error {
	index, err := os.OpenFile(args[0]+"-shm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer index.Close()
	locks := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 120, Len: 8}
	if err := syscall.FcntlFlock(index.Fd(), syscall.F_SETLKW, &locks); err != nil {
		return err
	}
	if _, err := index.WriteAt([]byte("recovery"), 8); err != nil { // the first of two copies of the header
		return err
	}
	if _, err := fmt.Println("recovering"); err != nil {
		return err
	}
	<-untilInputEnds(ctx).Done()
	return nil
}
