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

// openings knows how many streams are being opened: on each QUIC connection, so
// that many at once cannot pass the limit together, and to each peer.
type openings struct {
	mu       sync.Mutex           // guards the maps
	opening  map[network.Conn]int // on QUIC
	toPeer   map[peer.ID]*peerOpenings
	answered map[network.Conn]time.Time // when the peer last answered on it
}

// provenFor is how long after an answer a connection is believed to stand. A peer
// that has lost its power says nothing: only what is sent on the old connection
// finds out, and a new one is needed then, before anything of the client's is on
// its way.
const provenFor = 5 * time.Second

// peerOpenings lets a bounded number in, for one peer.
type peerOpenings struct {
	in    chan struct{}
	users int // inside and waiting
}

func newOpenings() *openings {
	return &openings{
		opening: make(map[network.Conn]int), toPeer: make(map[peer.ID]*peerOpenings),
		answered: make(map[network.Conn]time.Time),
	}
}

// prove notes that a peer has answered on a connection.
func (o *openings) prove(c network.Conn) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.answered[c]; !known {
		maps.DeleteFunc(o.answered, func(_ network.Conn, at time.Time) bool { return now.Sub(at) >= provenFor })
	}
	o.answered[c] = now
}

// proven tells whether the peer has answered on a connection of late.
func (o *openings) proven(c network.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.answered[c]
	return ok && time.Since(at) < provenFor
}

// enter waits until one more stream to the peer may be negotiated. leave must
// be called once that is over.
func (o *openings) enter(ctx context.Context, to peer.ID) (leave func(), err error) {
	o.mu.Lock()
	t := o.toPeer[to]
	if t == nil {
		t = &peerOpenings{in: make(chan struct{}, negotiating)}
		o.toPeer[to] = t
	}
	t.users++
	o.mu.Unlock()
	done := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(o.toPeer, to)
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
func (o *openings) pick(conns []network.Conn, limited bool) (network.Conn, error) {
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
			case o.full(c):
				err = &stream.LimitError{Scope: stream.ScopeConnection, Limit: quicStreams}
			default:
				return c, nil
			}
		}
	}
	return nil, err
}

// full tells whether a connection carries as many streams as it may.
func (o *openings) full(c network.Conn) bool {
	if !isQUIC(c) {
		return false
	}
	o.mu.Lock()
	opening := o.opening[c]
	o.mu.Unlock()
	return outbound(c)+opening >= quicStreams
}

// newStream opens a stream, at once or not at all.
func (o *openings) newStream(ctx context.Context, c network.Conn) (network.Stream, error) {
	if !isQUIC(c) {
		s, err := c.NewStream(ctx)
		return s, localLimit(err)
	}
	o.mu.Lock()
	if outbound(c)+o.opening[c] >= quicStreams {
		o.mu.Unlock()
		return nil, &stream.LimitError{Scope: stream.ScopeConnection, Limit: quicStreams}
	}
	o.opening[c]++
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		if o.opening[c]--; o.opening[c] == 0 {
			delete(o.opening, c)
		}
		o.mu.Unlock()
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
