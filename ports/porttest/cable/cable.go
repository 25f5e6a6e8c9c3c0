// Package cable lets a test cut the connection between an adapter and its server, and plug it in again: the Break of a
// contract suite for a store that talks to a server.
package cable

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Cable carries TCP connections to a server.
type Cable struct {
	listener net.Listener
	server   string
	carrying sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// To lays a cable to the server at an address. It is gone when the test is over.
func To(t testing.TB, server string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("lay a cable to %s: %v", server, err)
	}
	c := &Cable{listener: listener, server: server, conns: map[net.Conn]bool{}}
	c.carrying.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.set(true)
		c.carrying.Wait()
	})
	return c
}

// Address is the near end: connect here and not to the server.
func (c *Cable) Address() string { return c.listener.Addr().String() }

// Cut ends all connections and lets no new one through, until plugIn is called. It fits the field Break.
func (c *Cable) Cut(testing.TB) (plugIn func()) {
	c.set(true)
	return func() { c.set(false) }
}

func (c *Cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			_ = conn.Close()
		}
	}
}

func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			c.carrying.Go(func() { c.carry(near) })
		}
	}
}

func (c *Cable) carry(near net.Conn) {
	defer near.Close()
	far, err := net.DialTimeout("tcp", c.server, 10*time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	if !c.add(near, far) {
		return
	}
	defer c.remove(near, far)
	var back sync.WaitGroup
	back.Go(func() { c.pipe(near, far) })
	c.pipe(far, near)
	back.Wait()
}

// pipe carries one direction, and ends the other when it ends.
func (c *Cable) pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ends is for the two ends to say
	_, _ = to.Close(), from.Close()
}

func (c *Cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false
	}
	for _, conn := range conns {
		c.conns[conn] = true
	}
	return true
}

func (c *Cable) remove(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		delete(c.conns, conn)
	}
}
