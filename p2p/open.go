package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"

	"github.com/go-nebnet/nebnet/internal/multistream"
	"github.com/go-nebnet/nebnet/stream"
)

const openAttempts = 3

// dialSpec is what is needed to open streams to a peer.
type dialSpec struct {
	peer  peer.ID
	addrs []ma.Multiaddr
	proto protocol.ID
	set   settings
	sure  bool // open waits for the peer's answer in any case
}

// open makes a stream to the peer, dialling it if needed. When the protocol is
// known to be served, and the peer has answered on the connection of late, the
// answer to the negotiation is not waited for, unless the spec is sure: ready reads
// it and must be called once, before the first read. Else ready is nil.
func (p *P2P) open(ctx context.Context, d dialSpec) (s network.Stream, ready func() error, err error) {
	if d.set.limited {
		ctx = network.WithAllowLimitedConn(ctx, "tunnel")
	}
	leave := func() {}
	defer func() {
		if ready == nil { // negotiated, or failed
			leave()
			return
		}
		answer := ready
		ready = func() error { defer leave(); return answer() }
	}()
	for i := range openAttempts {
		var c network.Conn
		if c, err = p.connect(ctx, d); err != nil {
			return nil, nil, err
		}
		if i == 0 { // not earlier: those who wait for a dial hold up nobody
			enter, err := p.openings.enter(ctx, d.peer)
			if err != nil {
				return nil, nil, d.fail("open stream", err)
			}
			leave = enter
		}
		s, ready, err = p.openOn(ctx, c, d)
		// A connection that has died is found out by using it.
		if err == nil || !c.IsClosed() || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, nil, d.fail("open stream", err)
	}
	return s, ready, nil
}

// openOn is open on one connection.
func (p *P2P) openOn(ctx context.Context, c network.Conn, d dialSpec) (s network.Stream, ready func() error, err error) {
	if s, err = p.openings.newStream(ctx, c); err != nil {
		return nil, nil, err
	}
	ready, err = p.negotiate(ctx, s, d)
	if err == nil && ready != nil && (d.sure || !p.openings.proven(c)) {
		stop := resetAfter(ctx, s)
		if err = ready(); !stop() {
			err = errors.Join(context.Cause(ctx), err)
		}
		ready = nil
	}
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return nil, nil, stream.Explain(err) // a reset may overtake the answer
	}
	return s, ready, nil
}

// connect returns a connection to the peer that has room for a stream.
func (p *P2P) connect(ctx context.Context, d dialSpec) (network.Conn, error) {
	c, err := p.openings.pick(p.host.Network().ConnsToPeer(d.peer), d.set.limited)
	if err == nil {
		return c, nil
	}
	if errors.Is(err, network.ErrLimitedConn) {
		ctx = network.WithForceDirectDial(ctx, "tunnel")
	} else if !errors.Is(err, network.ErrNoConn) {
		return nil, d.fail("open stream", err)
	}
	info := peer.AddrInfo{ID: d.peer, Addrs: append(p.addrsOf(d.peer), d.addrs...)}
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
	if c, err = p.openings.pick(p.host.Network().ConnsToPeer(d.peer), d.set.limited); err != nil {
		return nil, d.fail("connect", fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	return c, nil
}

// fail says what an error belongs to, unless it says so itself.
func (d dialSpec) fail(op string, err error) error {
	if _, said := errors.AsType[*opError](err); said {
		return err
	}
	reason := "peer"
	switch {
	case errors.Is(err, ErrLimit):
		reason = "limit"
	case errors.Is(err, ErrNotServed):
		reason = "not_served"
	case errors.Is(err, ErrNotAdmitted):
		reason = "not_admitted"
	case errors.Is(err, ErrTargetRefused):
		reason = "target"
	}
	return &opError{op: op, peer: d.peer, proto: d.proto, reason: reason, err: err}
}

// resetAfter resets a stream when ctx ends while its peer is waited for. stop is
// false when it has been reset.
func resetAfter(ctx context.Context, s network.Stream) (stop func() bool) {
	done := make(chan struct{})
	leave := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.Reset()
	})
	return func() bool {
		if leave() {
			return true
		}
		<-done
		return false
	}
}

// negotiate agrees on the protocol by multistream-select.
func (p *P2P) negotiate(ctx context.Context, s network.Stream, d dialSpec) (ready func() error, err error) {
	stop := resetAfter(ctx, s)
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
		if _, err := s.Write(multistream.Lines(d.proto)); err != nil {
			return nil, err
		}
		return func() error { return p.readAnswer(s, d) }, nil
	}
	if _, err := msmux.SelectOneOf([]protocol.ID{d.proto}, s); err != nil {
		return nil, notServed(err)
	}
	_ = p.peerstore.AddProtocols(d.peer, d.proto) // saves a round trip next time
	p.openings.prove(s.Conn())
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
	p.openings.prove(s.Conn())
	return s.SetReadDeadline(time.Time{})
}

func notServed(err error) error {
	if multistream.NotSupported(err) {
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
