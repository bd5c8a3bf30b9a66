package p2p

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"

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

const openAttempts = 3

// negotiating is how many streams to one peer may wait for the answer to their
// negotiation at a time. Hosts bound such streams (nebnet's to 32 a peer), and
// reset what is above.
const negotiating = 24

// dialSpec is what is needed to open streams to a peer.
type dialSpec struct {
	peer  peer.ID
	addrs []ma.Multiaddr
	proto protocol.ID
	set   settings
}

// open makes a stream to the peer, dialling it if needed. When the protocol is
// known to be served, the answer to the negotiation is not waited for: ready
// reads it and must be called once, before the first read. Else ready is nil.
func (p *P2P) open(ctx context.Context, d dialSpec) (s network.Stream, ready func() error, err error) {
	if d.set.limited {
		ctx = network.WithAllowLimitedConn(ctx, "tunnel")
	}
	leave, err := p.slots.enter(ctx, d.peer)
	if err != nil {
		return nil, nil, d.fail("open stream", err)
	}
	defer func() {
		if ready == nil { // negotiated, or failed
			leave()
			return
		}
		answer := ready
		ready = func() error { defer leave(); return answer() }
	}()
	for range openAttempts {
		var c network.Conn
		if c, err = p.connect(ctx, d); err != nil {
			return nil, nil, err
		}
		s, err = p.slots.newStream(ctx, c)
		if err == nil {
			break
		}
		// A connection that has just died is found out by using it.
		if !c.IsClosed() || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, nil, d.fail("open stream", err)
	}
	ready, err = p.negotiate(ctx, s, d)
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return nil, nil, d.fail("open stream", err)
	}
	return s, ready, nil
}

// connect returns a connection to the peer that has room for a stream.
func (p *P2P) connect(ctx context.Context, d dialSpec) (network.Conn, error) {
	c, err := p.slots.pick(p.host.Network().ConnsToPeer(d.peer), d.set.limited)
	if err == nil {
		return c, nil
	}
	if errors.Is(err, network.ErrLimitedConn) {
		ctx = network.WithForceDirectDial(ctx, "tunnel")
	} else if !errors.Is(err, network.ErrNoConn) {
		return nil, d.fail("open stream", err)
	}
	info := peer.AddrInfo{ID: d.peer, Addrs: d.addrs}
	derr := p.host.Connect(ctx, info)
	if derr != nil && errors.Is(derr, swarm.ErrDialBackoff) {
		// After failed dials libp2p skips an address for up to five minutes. A
		// user is waiting, and the network may be back: ask for real.
		derr = p.host.Connect(network.WithForceDirectDial(ctx, "tunnel"), info)
	}
	if derr != nil {
		if errors.Is(err, network.ErrLimitedConn) {
			derr = fmt.Errorf("%w, and direct: %w", err, derr)
		}
		return nil, d.fail("connect", fmt.Errorf("%w: %w", ErrUnreachable, derr))
	}
	if c, err = p.slots.pick(p.host.Network().ConnsToPeer(d.peer), d.set.limited); err != nil {
		return nil, d.fail("connect", fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	return c, nil
}

func (d dialSpec) fail(op string, err error) error {
	reason := "peer"
	switch {
	case errors.Is(err, ErrLimit):
		reason = "limit"
	case errors.Is(err, ErrNotServed):
		reason = "not_served"
	}
	return &opError{op: op, peer: d.peer, proto: d.proto, reason: reason, err: err}
}

// negotiate agrees on the protocol by multistream-select.
func (p *P2P) negotiate(ctx context.Context, s network.Stream, d dialSpec) (ready func() error, err error) {
	// Resets the stream when ctx ends while we wait for the peer.
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		} else if ctx.Err() != nil && err != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}()
	if err := s.SetProtocol(d.proto); err != nil {
		return nil, localLimit(err)
	}
	known, err := p.peerstore.SupportsProtocols(d.peer, d.proto)
	if err == nil && len(known) > 0 {
		if _, err := s.Write(multistreamHeader(d.proto)); err != nil {
			return nil, err
		}
		return func() error { return p.readAnswer(s, d) }, nil
	}
	if _, err := msmux.SelectOneOf([]protocol.ID{d.proto}, s); err != nil {
		return nil, notServed(err)
	}
	_ = p.peerstore.AddProtocols(d.peer, d.proto) // saves a round trip next time
	return nil, nil
}

// readAnswer reads the peer's half of the negotiation.
func (p *P2P) readAnswer(s network.Stream, d dialSpec) error {
	if err := s.SetReadDeadline(time.Now().Add(d.set.dialTimeout)); err != nil {
		return d.fail("negotiate", err)
	}
	for _, want := range []protocol.ID{msmux.ProtocolID, d.proto} {
		got, err := msmux.ReadNextToken[protocol.ID](s)
		if err != nil {
			return d.fail("negotiate", stream.Explain(err))
		}
		if got != want {
			// What the peerstore says is out of date.
			_ = p.peerstore.RemoveProtocols(d.peer, d.proto)
			return d.fail("negotiate", ErrNotServed)
		}
	}
	return s.SetReadDeadline(time.Time{})
}

// multistreamHeader is the opener's half of the negotiation in one piece.
func multistreamHeader(proto protocol.ID) []byte {
	b := make([]byte, 0, len(msmux.ProtocolID)+len(proto)+6)
	for _, token := range []string{msmux.ProtocolID, string(proto)} {
		n := len(token) + 1
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		b = append(append(append(b, byte(n)), token...), '\n')
	}
	return b
}

func notServed(err error) error {
	if errors.Is(err, msmux.ErrNotSupported[protocol.ID]{}) {
		return ErrNotServed
	}
	return err
}

func localLimit(err error) error {
	if errors.Is(err, network.ErrResourceLimitExceeded) {
		return fmt.Errorf("%w: %w", &stream.LimitError{Scope: stream.ScopeResources}, err)
	}
	return err
}

// slots knows how many streams are being opened: on each QUIC connection, so
// that many at once cannot pass the limit together, and to each peer.
type slots struct {
	mu      sync.Mutex // guards the maps
	opening map[network.Conn]int
	turns   map[peer.ID]*turn
}

// turn lets a bounded number in, for one peer.
type turn struct {
	in    chan struct{}
	users int // inside and waiting
}

func newSlots() *slots {
	return &slots{opening: make(map[network.Conn]int), turns: make(map[peer.ID]*turn)}
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
