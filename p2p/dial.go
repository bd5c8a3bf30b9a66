package p2p

import (
	"context"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// Dial listens on bindAddr and forwards each connection to the peer, over a
// stream of its own for proto. bindAddr is a TCP address, whose port may be 0,
// or a unix socket; the real address is in the result. A unix socket on which
// nobody listens any more, such as a killed process leaves behind, is replaced;
// any other file at its path is an error. addr, if not nil, is an address of the
// peer, with or without /p2p/ID at its end, that is used whenever the peer is
// dialled while the tunnel lives; with an empty remote it is /dnsaddr/host, which is
// resolved now and names the peer. Without WithCheck the peer need not be reachable yet: every
// connection dials anew, so that new connections work again by themselves after
// an outage. The tunnel, its streams included, ends with ctx or by its Close
// methods.
//
// Errors: ErrProtocolName, ErrAddress, ErrClosed, those of net.Listen, and with
// WithCheck those of CheckRemote.
func (p *P2P) Dial(ctx context.Context, addr ma.Multiaddr, remote peer.ID, proto string, bindAddr ma.Multiaddr, opts ...Option) (*listener.Info, error) {
	d, err := p.dialSpec(ctx, addr, remote, proto, opts)
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s: %w", proto, err)
	}
	socket, err := parseSocket(bindAddr)
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s: %w", proto, err)
	}
	target, err := ma.NewMultiaddr("/p2p/" + d.peer.String())
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s: %w: %w", proto, ErrAddress, err)
	}
	if d.set.check {
		if err := p.checkRemote(ctx, d); err != nil {
			return nil, err
		}
	}
	ln, err := p.bindTo(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s: %w", proto, err)
	}
	return p.forward(ctx, d, ln, bindAddr, target)
}

// forward turns an open socket into a tunnel, or closes it.
func (p *P2P) forward(ctx context.Context, d dialSpec, ln net.Listener, bind, target ma.Multiaddr) (*listener.Info, error) {
	if _, ok := ln.Addr().(*net.TCPAddr); ok {
		if real, err := manet.FromNetAddr(ln.Addr()); err == nil {
			bind = real
		}
	}
	id := p.Listeners.NextID()
	group := p.Streams.NewGroup(stream.Settings{
		Listener: id, Protocol: d.proto, Limits: d.set.limits, Idle: d.set.idle, Stall: d.set.stall,
		Urgent: d.set.urgent,
	})
	l, err := p.Listeners.Add(id, listener.Config{
		Kind: listener.Local, Protocol: d.proto, Listen: bind, Target: target, Peer: d.peer, Addrs: d.addrs,
		Group: group, Context: ctx, Stop: ln.Close,
	})
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("tunnel to %s: %w", d.proto, err)
	}
	l.Serve(ln, func(c net.Conn) { p.accepted(group, d, c) })
	p.obs.Log("tunnel").WithFields(logrus.Fields{
		"listener": id, "protocol": string(d.proto), "listen": bind.String(), "peer": d.peer.String(),
	}).Info("tunnel listening locally")
	info := l.Info()
	return &info, nil
}

// accepted gives a local connection a goroutine, if the limits allow.
func (p *P2P) accepted(group *stream.Group, d dialSpec, local net.Conn) {
	s, ctx, err := group.Open(p.ctx, d.peer, stream.Outbound)
	if err != nil {
		stream.ResetConn(local)
		p.failed(d, err)
		return
	}
	if !p.enter() {
		stream.ResetConn(local)
		s.Fail(ErrClosed)
		return
	}
	go func() {
		defer p.work.Done()
		remote, ready, err := p.openWithin(ctx, d)
		switch {
		case err == nil:
		case ctx.Err() != nil: // closed from here
			stream.ResetConn(local)
			s.Fail(ErrClosed)
			return
		default:
			stream.ResetConn(local)
			s.Fail(err)
			p.failed(d, err)
			return
		}
		p.ended(s.Bridge(local, remote, ready), d.proto, d.peer)
	}()
}

// openWithin opens a stream within the dial timeout.
func (p *P2P) openWithin(ctx context.Context, d dialSpec) (s network.Stream, ready func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.set.dialTimeout)
	defer cancel()
	return p.open(ctx, d)
}

func (p *P2P) failed(d dialSpec, err error) {
	p.obs.WarnLimited("tunnel", "dial/"+string(d.proto), logrus.Fields{
		"peer": d.peer.String(), "protocol": string(d.proto), "error": obs.CleanTo(err.Error(), maxLogText),
	}, "local connection cannot be forwarded")
}

// dialSpec checks what Dial and DialConn have in common.
func (p *P2P) dialSpec(ctx context.Context, addr ma.Multiaddr, remote peer.ID, proto string, opts []Option) (dialSpec, error) {
	d := dialSpec{peer: remote, proto: protocol.ID(proto), set: p.defaults.with(opts)}
	if err := checkProtocol(proto, d.set.custom); err != nil {
		return d, err
	}
	if remote == "" && isNameOfPeer(addr) {
		ctx, cancel := context.WithTimeout(ctx, d.set.dialTimeout)
		defer cancel()
		info, err := p.resolve(ctx, addr)
		if err != nil {
			return d, err
		}
		d.peer, d.addrs = info.ID, info.Addrs
		return d, p.usable(ctx)
	}
	if err := remote.Validate(); err != nil {
		return d, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if len(addr) > 0 {
		transport, id := peer.SplitAddr(addr)
		if id != "" && id != remote {
			return d, fmt.Errorf("%w: %s is not an address of %s", ErrAddress, addr, remote)
		}
		if len(transport) > 0 {
			d.addrs = []ma.Multiaddr{transport}
		}
	}
	return d, p.usable(ctx)
}
