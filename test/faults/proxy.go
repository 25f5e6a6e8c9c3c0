package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy carries one server's connections. It can delay what it carries, and reset connections: what a network does that
// loses no packet. Cut cables are the namespaces' part. The kernel's own netem is not in every kernel, and the library
// that is made for this (Shopify's toxiproxy) has had no release since 2022.
type proxy struct {
	listener net.Listener
	to       string
	delay    atomic.Int64 // the most that a piece waits, in each direction

	mu          sync.Mutex
	connections map[net.Conn]bool
}

func newProxy(listener net.Listener, to string) *proxy {
	p := &proxy{listener: listener, to: to, connections: map[net.Conn]bool{}}
	go p.accept()
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue
		}
		go p.carry(client)
	}
}

func (p *proxy) carry(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.to, 10*time.Second)
	if err != nil {
		reset(client)
		return
	}
	p.mu.Lock()
	p.connections[client] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pipe(server, client) })
	both.Go(func() { p.pipe(client, server) })
	both.Wait()
	p.mu.Lock()
	delete(p.connections, client)
	p.mu.Unlock()
}

// pipe carries one direction until either end is done, and takes both ends down with it.
func (p *proxy) pipe(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if most := p.delay.Load(); most > 0 {
			time.Sleep(time.Duration(most/2 + rand.Int64N(most/2)))
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				reset(to)
			}
			return
		}
	}
}

// resetSome ends each connection with this probability, in the middle of what it carries.
func (p *proxy) resetSome(probability float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.connections {
		if rand.Float64() < probability {
			reset(c)
		}
	}
}

// reset closes a connection so that the other end gets an error, not an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
