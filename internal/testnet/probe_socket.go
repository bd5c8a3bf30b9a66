package testnet

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Sockets are raw connections of an attacker: TCP and nothing above it.
type Sockets []*Conn

// OpenSockets dials dst each times from every source, all at once, and sends
// nothing: the probe for what silent sockets do to a host (slowloris, floods
// from one address or one subnet). It returns those that connected, and the
// joined errors of the others.
func (n *Net) OpenSockets(ctx context.Context, dst netip.AddrPort, each int, sources ...netip.Addr) (Sockets, error) {
	conns := make(Sockets, each*len(sources))
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() { conns[i], errs[i] = n.Dial(ctx, sources[i/each], dst) })
	}
	wg.Wait()
	open := conns[:0]
	for _, c := range conns {
		if c != nil {
			open = append(open, c)
		}
	}
	return open, errors.Join(errs...)
}

// Alive counts the sockets that the other end has neither closed nor reset, as
// far as word of it has arrived.
func (s Sockets) Alive() int {
	alive := 0
	for _, c := range s {
		if !c.Ended() {
			alive++
		}
	}
	return alive
}

// Close resets them all.
func (s Sockets) Close() {
	for _, c := range s {
		c.Reset()
	}
}

// Churn connects from src to dst and resets again at once, rounds times one
// after the other, and returns how often it got a connection. It stops early
// when ctx ends.
func (n *Net) Churn(ctx context.Context, src netip.Addr, dst netip.AddrPort, rounds int) (connected int) {
	for range rounds {
		if ctx.Err() != nil {
			break
		}
		c, err := n.Dial(ctx, src, dst)
		if err != nil {
			continue
		}
		connected++
		c.Reset()
	}
	return connected
}

// Drip writes data to w, a socket or a stream, one byte at a time with a pause
// before each. It returns how many bytes went out, and the error that ended it:
// the context's, the writer's, or nil after the last byte.
func Drip(ctx context.Context, w io.Writer, data []byte, pause time.Duration) (int, error) {
	for i := range data {
		if err := sleep(ctx, pause); err != nil {
			return i, err
		}
		if _, err := w.Write(data[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(data), nil
}

// Ended reports whether c can be used no more: it was closed here, its node
// died, or word of a close or reset by the other end has arrived. It reads
// nothing.
func (c *Conn) Ended() bool {
	f := c.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	e, now := &f.ends[c.side], time.Now()
	if e.dead() || passed(e.reset, now) {
		return true
	}
	for _, s := range f.lanes[1-c.side].queue {
		if s.fin && !s.blackholed && passed(s.arrives, now) {
			return true
		}
	}
	return false
}
