package pacing

import (
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Budgets are those of a host's connections. A budget is made when somebody asks
// for it, and forgotten with its connection.
type Budgets struct {
	net      network.Network
	notifiee network.Notifiee

	mu    sync.Mutex // guards conns
	conns map[network.Conn]*Budget
}

// New makes budgets for a host. Close ends them.
func New(h host.Host) *Budgets {
	s := &Budgets{net: h.Network(), conns: make(map[network.Conn]*Budget)}
	s.notifiee = &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) { s.forget(c) }}
	s.net.Notify(s.notifiee)
	return s
}

// Close lets whoever waits go on without pacing.
func (s *Budgets) Close() {
	s.net.StopNotify(s.notifiee)
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for _, b := range conns {
		b.close()
	}
}

// Of is the budget of a connection.
func (s *Budgets) Of(c network.Conn) *Budget {
	s.mu.Lock()
	b := s.conns[c]
	if b == nil {
		b = NewBudget()
		c.As(&b.line)
		if s.conns != nil {
			s.conns[c] = b
		}
	}
	s.mu.Unlock()
	if c.IsClosed() {
		// It may have been forgotten before it was made.
		s.forget(c)
	}
	return b
}

// RTTs are the smallest round trips to the peers that were measured in the last ten
// minutes while nothing was on its way: those of their lines, without queues. Peers of
// which none is known are left out.
func (s *Budgets) RTTs() map[peer.ID]time.Duration {
	s.mu.Lock()
	conns := maps.Clone(s.conns)
	s.mu.Unlock()
	rtts := make(map[peer.ID]time.Duration, len(conns))
	for c, b := range conns {
		if rtt, p := b.quietRTT(), c.RemotePeer(); rtt > 0 && (rtts[p] == 0 || rtt < rtts[p]) {
			rtts[p] = rtt
		}
	}
	return rtts
}

// Stream has the writes of a stream paced.
func (s *Budgets) Stream(st network.Stream, class Class) *Stream {
	return NewStream(st, s.Of(st.Conn()), class)
}

func (s *Budgets) forget(c network.Conn) {
	s.mu.Lock()
	b := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if b != nil {
		b.close()
	}
}
