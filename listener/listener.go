package listener

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/stream"
)

// Config describes a listener to a Registry.
type Config struct {
	Kind     Kind
	Protocol protocol.ID
	Listen   ma.Multiaddr
	Target   ma.Multiaddr
	Peer     peer.ID
	Addrs    []ma.Multiaddr
	// Group is the streams of the listener. Required.
	Group *stream.Group
	// Context closes the listener and its streams when it ends. Required.
	Context context.Context
	// Stop ends listening: it closes the socket or takes the handler away. It
	// is called once, and must make Serve's Accept fail. May be nil.
	Stop func() error
	// Stopped is called once after listening has ended, for what is kept for
	// the listener's life. May be nil.
	Stopped func()
}

// Listener is one entry of a Registry.
type Listener struct {
	reg    *Registry
	id     uint64
	cfg    Config
	opened time.Time
	done   chan struct{}
	loop   sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	err   error      // nil while listening
	state State
	stop  error       // what Stop returned
	leave func() bool // stops waiting for cfg.Context
}

// Info returns the listener as it is now.
func (l *Listener) Info() Info {
	l.mu.Lock()
	state := l.state
	l.mu.Unlock()
	return Info{
		ID: l.id, Kind: l.cfg.Kind, Protocol: l.cfg.Protocol, Listen: l.cfg.Listen, Target: l.cfg.Target,
		Peer: l.cfg.Peer, Addrs: slices.Clone(l.cfg.Addrs), State: state, Opened: l.opened, Age: time.Since(l.opened),
		Totals: l.cfg.Group.Totals(), l: l,
	}
}

// Serve accepts connections in a goroutine of its own until the listener is
// closed, and hands each to handle, which must not block. An error of Accept that may
// pass makes it wait, from 5 ms to 1 s; any other ends the listener.
func (l *Listener) Serve(ln net.Listener, handle func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return // closed already; Close waits for what was started before
	}
	l.loop.Go(func() {
		if err := l.accept(ln, handle); err != nil {
			l.end(Failed, err)
		}
	})
}

// Close is Info.Close.
func (l *Listener) Close() error {
	l.end(Closed, ErrClosed)
	<-l.done
	l.loop.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stop
}

// CloseStreams is Info.CloseStreams.
func (l *Listener) CloseStreams() []stream.Info {
	_ = l.Close()
	return l.cfg.Group.Close()
}

// follow closes the listener and its streams when its context ends, also those
// that run on after the listener was closed.
func (l *Listener) follow() {
	leave := context.AfterFunc(l.cfg.Context, func() {
		if l.reg.enter() {
			defer l.reg.closers.Done()
			l.CloseStreams()
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave = leave
	if l.err != nil { // ended since it was added
		l.cfg.Group.WhenEmpty(func() { leave() })
	}
}

// end stops listening once, and says why.
func (l *Listener) end(state State, err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.state, l.err = state, err
	leave := l.leave
	l.mu.Unlock()

	l.cfg.Group.Stop()
	if leave != nil {
		l.cfg.Group.WhenEmpty(func() { leave() })
	}
	var stop error
	if l.cfg.Stop != nil {
		stop = l.cfg.Stop()
	}
	l.mu.Lock()
	l.stop = stop
	l.mu.Unlock()
	l.reg.remove(l)
	if l.cfg.Stopped != nil {
		l.cfg.Stopped()
	}
	l.reg.stopped(l, state, err)
	close(l.done)
}
