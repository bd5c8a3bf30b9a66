package testnet

import (
	"net"
	"net/netip"
	"sync"
)

// Listener accepts connections at one address. It is a net.Listener.
type Listener struct {
	net   *Net
	node  *node
	epoch uint64
	addr  netip.AddrPort

	mu     sync.Mutex // guards the fields below; never held while waiting
	queue  []*Conn    // established, waiting for Accept
	closed bool
	ready  signal
}

var _ net.Listener = (*Listener)(nil)

// Listen opens a listener of the node at the address's IP. Port 0 takes a free
// one.
func (n *Net) Listen(at netip.AddrPort) (*Listener, error) {
	nd := n.node(at.Addr())
	return n.listen(nd, nd.epoch.Load(), at.Port())
}

func (n *Net) listen(nd *node, epoch uint64, port uint16) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := netip.AddrPortFrom(nd.addr, port)
	if nd.down.Load() || nd.epoch.Load() != epoch {
		return nil, opError("listen", netip.AddrPort{}, at, ErrNodeDown)
	}
	if port == 0 {
		at = netip.AddrPortFrom(nd.addr, nd.ephemeralPort(func(p uint16) bool {
			return n.listeners[netip.AddrPortFrom(nd.addr, p)] != nil
		}))
	}
	if n.listeners[at] != nil {
		return nil, opError("listen", netip.AddrPort{}, at, errInUse)
	}
	l := &Listener{net: n, node: nd, epoch: epoch, addr: at}
	n.listeners[at] = l
	return l, nil
}

// Accept waits for a connection. After a crash or kill of the node it waits for
// Close: a dead process does not see its listener fail.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.closed {
			return nil, opError("accept", netip.AddrPort{}, l.addr, errClosed)
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			return c, nil
		}
		ready := l.ready.wait()
		l.mu.Unlock()
		<-ready
		l.mu.Lock()
	}
}

// full reports whether another connection would find no place.
func (l *Listener) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) >= l.net.backlog
}

// push hands over an established connection, and reports false when the
// listener has closed meanwhile.
func (l *Listener) push(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, c)
	l.ready.fire()
	return true
}

// Close stops listening and resets the connections that nobody accepted.
func (l *Listener) Close() error {
	l.net.mu.Lock()
	if l.net.listeners[l.addr] == l {
		delete(l.net.listeners, l.addr)
	}
	l.net.mu.Unlock()
	l.mu.Lock()
	again := l.closed
	l.closed = true
	waiting := l.queue
	l.queue = nil
	l.ready.fire()
	l.mu.Unlock()
	for _, c := range waiting {
		c.Reset()
	}
	if again {
		return opError("close", netip.AddrPort{}, l.addr, errClosed)
	}
	return nil
}

// Addr returns a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }
