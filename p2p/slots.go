package p2p

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/stream"
)

// A go-libp2p node lets a peer have 256 streams open on one QUIC connection.
// The next attempt waits for one to end, however long that takes; on yamux
// there is no such limit.
const quicStreams = 256

// quicOpenTimeout bounds the wait for a stream on a QUIC connection, which the
// other side may limit to fewer. A place that has just become free takes one
// round trip to be told.
const quicOpenTimeout = 3 * time.Second

// negotiating is how many streams to one peer may wait for the answer to their
// negotiation at a time. Hosts bound such streams (nebnet's to 32 a peer), and
// reset what is above.
const negotiating = 24

// slots knows how many streams are being opened: on each QUIC connection, so
// that many at once cannot pass the limit together, and to each peer.
type slots struct {
	mu       sync.Mutex // guards the maps
	opening  map[network.Conn]int
	turns    map[peer.ID]*turn
	answered map[network.Conn]time.Time // when the peer last answered on it
}

// provenFor is how long after an answer a connection is believed to stand. A peer
// that has lost its power says nothing: only what is sent on the old connection
// finds out, and a new one is needed then, before anything of the client's is on
// its way.
const provenFor = 5 * time.Second

// turn lets a bounded number in, for one peer.
type turn struct {
	in    chan struct{}
	users int // inside and waiting
}

func newSlots() *slots {
	return &slots{
		opening: make(map[network.Conn]int), turns: make(map[peer.ID]*turn),
		answered: make(map[network.Conn]time.Time),
	}
}

// prove notes that a peer has answered on a connection.
func (sl *slots) prove(c network.Conn) {
	now := time.Now()
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if _, known := sl.answered[c]; !known {
		maps.DeleteFunc(sl.answered, func(_ network.Conn, at time.Time) bool { return now.Sub(at) >= provenFor })
	}
	sl.answered[c] = now
}

// proven tells whether the peer has answered on a connection of late.
func (sl *slots) proven(c network.Conn) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	at, ok := sl.answered[c]
	return ok && time.Since(at) < provenFor
}

// enter waits until one more stream to the peer may be negotiated. leave must
// be called once that is over.
func (sl *slots) enter(ctx context.Context, to peer.ID) (leave func(), err error) {
	sl.mu.Lock()
	t := sl.turns[to]
	if t == nil {
		t = &turn{in: make(chan struct{}, negotiating)}
		sl.turns[to] = t
	}
	t.users++
	sl.mu.Unlock()
	done := func() {
		sl.mu.Lock()
		defer sl.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(sl.turns, to)
		}
	}
	select {
	case t.in <- struct{}{}: // emptied by leave
		return func() { <-t.in; done() }, nil
	case <-ctx.Done():
		done()
		return nil, context.Cause(ctx)
	}
}

// pick chooses the first connection that may carry a stream and has room.
func (sl *slots) pick(conns []network.Conn, limited bool) (network.Conn, error) {
	err := error(network.ErrNoConn)
	for pass := range 2 { // unlimited connections first
		for _, c := range conns {
			isLimited := c.Stat().Limited
			if c.IsClosed() || isLimited != (pass == 1) {
				continue
			}
			switch {
			case isLimited && !limited:
				if errors.Is(err, network.ErrNoConn) {
					err = network.ErrLimitedConn
				}
			case sl.full(c):
				err = &stream.LimitError{Scope: stream.ScopeConnection, Limit: quicStreams}
			default:
				return c, nil
			}
		}
	}
	return nil, err
}

// full tells whether a connection carries as many streams as it may.
func (sl *slots) full(c network.Conn) bool {
	if !isQUIC(c) {
		return false
	}
	sl.mu.Lock()
	opening := sl.opening[c]
	sl.mu.Unlock()
	return outbound(c)+opening >= quicStreams
}

// newStream opens a stream, at once or not at all.
func (sl *slots) newStream(ctx context.Context, c network.Conn) (network.Stream, error) {
	if !isQUIC(c) {
		s, err := c.NewStream(ctx)
		return s, localLimit(err)
	}
	sl.mu.Lock()
	if outbound(c)+sl.opening[c] >= quicStreams {
		sl.mu.Unlock()
		return nil, &stream.LimitError{Scope: stream.ScopeConnection, Limit: quicStreams}
	}
	sl.opening[c]++
	sl.mu.Unlock()
	defer func() {
		sl.mu.Lock()
		if sl.opening[c]--; sl.opening[c] == 0 {
			delete(sl.opening, c)
		}
		sl.mu.Unlock()
	}()
	octx, cancel := context.WithTimeout(ctx, quicOpenTimeout)
	defer cancel()
	s, err := c.NewStream(octx)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, &stream.LimitError{Scope: stream.ScopeConnection}
	}
	return s, localLimit(err)
}

func isQUIC(c network.Conn) bool {
	t := c.ConnState().Transport
	return strings.Contains(t, "quic") || t == "webtransport"
}

// outbound counts the streams on c that were opened from here, exactly when
// there are many and from above when there are few.
func outbound(c network.Conn) int {
	if n := c.Stat().NumStreams; n < quicStreams/2 {
		return n
	}
	n := 0
	for _, s := range c.GetStreams() {
		if s.Stat().Direction == network.DirOutbound {
			n++
		}
	}
	return n
}
