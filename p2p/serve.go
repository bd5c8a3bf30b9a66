package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// NewListener serves a protocol to peers: each stream is connected to the
// service at addr, a TCP address (/ip4, /ip6 or /dns) or a unix socket
// (/unix/path). The service is dialled for each stream anew, and need not run
// yet. The tunnel, its streams included, ends with ctx or by its Close methods.
//
// Errors: ErrProtocolName, ErrProtocolTaken, ErrAddress, ErrTargetDenied,
// ErrClosed.
func (p *P2P) NewListener(ctx context.Context, proto string, addr ma.Multiaddr, opts ...Option) (*listener.Info, error) {
	set := p.defaults.with(opts)
	set.idle = set.servedIdle()
	socket, err := parseTarget(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", proto, err)
	}
	if t, ok := socket.target(); ok {
		if err := p.allowed(t, set.allow); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", proto, err)
		}
	}
	return p.serve(ctx, proto, set, listener.Remote, addr, nil, func(s *stream.Stream, ctx context.Context, remote network.Stream) {
		p.bridgeToTarget(ctx, s, remote, socket, set)
	})
}

// handler takes a stream that was admitted. It ends it, sooner or later.
type handler func(s *stream.Stream, ctx context.Context, remote network.Stream)

// serve registers a protocol, for NewListener and Listen.
func (p *P2P) serve(ctx context.Context, proto string, set settings, kind listener.Kind, target ma.Multiaddr, stopped func(), handle handler) (*listener.Info, error) {
	if err := checkProtocol(proto, set.custom); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := p.usable(ctx); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", proto, err)
	}
	id := protocol.ID(proto)
	if p.CheckProtoExists(proto) {
		return nil, fmt.Errorf("listen on %s: %w", proto, ErrProtocolTaken)
	}
	self, err := ma.NewMultiaddr("/p2p/" + p.self.String())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: own peer ID: %w", proto, err)
	}
	lid := p.Listeners.NextID()
	group := p.Streams.NewGroup(stream.Settings{
		Listener: lid, Protocol: id, Limits: set.limits, Idle: set.idle, Stall: set.stall, Urgent: set.urgent,
	})
	var (
		mu   sync.Mutex // orders setting and removing the handler
		gone bool
	)
	l, err := p.Listeners.Add(lid, listener.Config{
		Kind: kind, Protocol: id, Listen: self, Target: target, Group: group, Context: ctx,
		Stop: func() error {
			mu.Lock()
			defer mu.Unlock()
			gone = true
			p.host.RemoveStreamHandler(id)
			return nil
		},
		Stopped: stopped,
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", proto, err)
	}
	mu.Lock()
	if !gone { // else closed already, by ctx say
		p.host.SetStreamHandler(id, func(remote network.Stream) { p.inbound(group, set, remote, handle) })
	}
	mu.Unlock()
	p.obs.Log("tunnel").WithFields(logrus.Fields{"listener": lid, "protocol": proto, "kind": kind.String()}).
		Info("tunnel listening for peers")
	info := l.Info()
	return &info, nil
}

// inbound judges one stream of a peer and passes it on.
func (p *P2P) inbound(group *stream.Group, set settings, remote network.Stream, handle handler) {
	if !p.enter() {
		_ = remote.ResetWithError(network.StreamShutdown)
		return
	}
	defer p.work.Done()
	from := remote.Conn().RemotePeer()
	if err := p.decide(from, remote, set); err != nil {
		group.Refuse(err)
		p.refuse(remote, err)
		return
	}
	s, ctx, err := group.Open(p.ctx, from, stream.Inbound)
	if err != nil {
		p.refuse(remote, err)
		return
	}
	handle(s, ctx, remote)
}

// decide finds out whether a peer is let in.
func (p *P2P) decide(from peer.ID, remote network.Stream, set settings) error {
	c := &candidate{from, remote}
	loser, err := p.undecided.enter(c)
	if err != nil {
		return err
	}
	if loser != nil {
		// A reset may have to wait for a connection that is stuck.
		p.work.Go(func() { _ = loser.remote.ResetWithError(network.StreamResourceLimitExceeded) })
	}
	admitted := p.admits(from, set)
	switch stays := p.undecided.leave(c); {
	case !stays:
		return &stream.LimitError{Scope: stream.ScopeTotal, Limit: maxUndecided}
	case !admitted:
		return ErrNotAdmitted
	}
	return nil
}

// refuse resets a stream that found no place, and tells the peer why. It is
// counted by then: whoever has seen the reset finds it in the counts.
func (p *P2P) refuse(remote network.Stream, err error) {
	_ = remote.ResetWithError(refusalCode(err))
	p.obs.WarnLimited("tunnel", "refused", logrus.Fields{
		"peer": remote.Conn().RemotePeer().String(), "protocol": string(remote.Protocol()), "error": obs.CleanTo(err.Error(), maxLogText),
	}, "tunnel stream refused")
}

// refusalCode tells the peer why its stream found no place.
func refusalCode(err error) network.StreamErrorCode {
	switch {
	case errors.Is(err, ErrNotAdmitted):
		return network.StreamGated
	case errors.Is(err, ErrLimit):
		return network.StreamResourceLimitExceeded
	default:
		return network.StreamShutdown
	}
}

func (p *P2P) admits(from peer.ID, set settings) bool {
	if set.admitted != nil && !set.admitted[from] {
		return false
	}
	for _, admit := range set.admit {
		if !p.ask(func() bool { return admit(from) }) {
			return false
		}
	}
	return true
}

// bridgeToTarget connects a stream to the local service.
func (p *P2P) bridgeToTarget(ctx context.Context, s *stream.Stream, remote network.Stream, to socketAddr, set settings) {
	local, err := p.dialTo(ctx, to, set)
	if err == nil && set.report != ReportNone {
		if err = report(local, remote, set); err != nil {
			_ = local.Close()
			err = fmt.Errorf("%w: report the peer: %w", ErrTargetRefused, err)
		}
	}
	switch {
	case err == nil:
	case ctx.Err() != nil: // closed from here, which is no fault of the target
		_ = remote.ResetWithError(network.StreamShutdown)
		s.Fail(ErrClosed)
		return
	default:
		_ = remote.ResetWithError(stream.CodeTargetRefused)
		s.Fail(err)
		p.obs.WarnLimited("tunnel", "target", logrus.Fields{
			"protocol": string(remote.Protocol()), "target": to.address, "error": obs.CleanTo(err.Error(), maxLogText),
		}, "tunnel target cannot be reached")
		return
	}
	p.ended(s.Bridge(local, remote, nil), remote.Protocol(), remote.Conn().RemotePeer())
}

// ended logs how a bridge ended.
func (p *P2P) ended(err error, proto protocol.ID, remote peer.ID) {
	// Not net.ErrClosed: a QUIC connection that is lost matches that, too.
	if err == nil || errors.Is(err, ErrClosed) {
		return
	}
	p.obs.Log("tunnel").WithFields(logrus.Fields{
		"protocol": string(proto), "peer": remote.String(), "error": obs.CleanTo(err.Error(), maxLogText),
	}).Debug("tunnel stream ended")
}

// usable reports whether something may be made under ctx.
func (p *P2P) usable(ctx context.Context) error {
	if err := p.ctx.Err(); err != nil {
		return ErrClosed
	}
	return ctx.Err()
}
