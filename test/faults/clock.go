package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The clock of a service can be set: its program is built with a time package whose Now adds the seconds that a file says.
// Go asks the kernel for the time without libc, so that libfaketime has no hold on it, and the program itself is not
// changed for this. The file is mapped into memory, because the runtime asks for the time where no system call is allowed.
const (
	clockVar  = "FAULTS_CLOCK" // no variable of the program, which would warn of it
	clockCode = `package time

import (
	"syscall"
	"unsafe"
)

var clockPage = func() []byte {
	name, _ := syscall.Getenv("` + clockVar + `")
	f, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic("` + clockVar + `=" + name + ": " + err.Error())
	}
	page, err := syscall.Mmap(f, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + clockVar + `=" + name + ": " + err.Error())
	}
	return page
}()

func clockOffset() int64 {
	if clockPage == nil { // other packages ask for the time before this one is ready
		return 0
	}
	return *(*int64)(unsafe.Pointer(&clockPage[0]))
}
`
)

func (b *bed) clockFile(node string) string { return filepath.Join(b.folder, node+".clock") }

// setClock sets a service's clock, in the file that it has mapped.
func (b *bed) setClock(node string, by time.Duration) error {
	f, err := os.OpenFile(b.clockFile(node), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(binary.NativeEndian.AppendUint64(nil, uint64(by/time.Second)))
	return errors.Join(err, f.Close())
}

// clock makes the fault that sets one service's clock.
func clock(by time.Duration) func(context.Context, *bed) error {
	return func(ctx context.Context, b *bed) error {
		node := hexes[0]
		return errors.Join(b.setClock(node, by), b.clockIs(ctx, node, by), wait(ctx, short), b.setClock(node, 0))
	}
}

// clockIs proves that the clock was set: the Date of an answer tells.
func (b *bed) clockIs(ctx context.Context, node string, by time.Duration) error {
	return b.until(ctx, "the clock of "+node+" is set", func(ctx context.Context) error {
		o, err := newClients([]string{b.base(node)}).command(ctx, 0, 201, "/orders", `{"buyerId":"clock"}`)
		if err != nil {
			return err
		}
		_, text, err := read(ctx, b.base(node)+"/orders/"+o.ID)
		if err != nil {
			return err
		}
		var said struct{ CreatedAt time.Time }
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			return err
		}
		if off := time.Until(said.CreatedAt); (off - by).Abs() > time.Minute {
			return fmt.Errorf("an order was created %s from now", off)
		}
		return nil
	})
}
