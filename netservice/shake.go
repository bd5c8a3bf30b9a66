package netservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/session"
)

// shaking is one handshake under way. It belongs to one goroutine.
type shaking struct {
	l       *links
	c       network.Conn
	opener  bool
	pending *session.Pending // holds message streams back until the outcome
	ticket  *peers.Ticket    // its place among the peers, once it has one
}

// shake opens a hello on a connection, unless there is one already.
func (l *links) shake(c network.Conn) {
	x := l.begin(c)
	if x == nil {
		return
	}
	go func() {
		defer l.end(x)
		ctx, cancel := context.WithTimeout(l.ctx, timeout(l.n.cfg.HandshakeTimeout))
		defer cancel()
		x.opener, x.pending = true, l.n.engine.Expect(c)
		t, r := l.n.peers.Admit(c.RemotePeer(), network.DirOutbound, 0)
		if r != handshake.ReasonNone {
			x.fail(&handshake.RefusedError{Reason: r})
			return
		}
		x.ticket = t
		s, err := openHello(ctx, c, handshake.Protocols(l.n.network))
		if err != nil {
			x.fail(err)
			return
		}
		res, err := handshake.Open(ctx, s, l.n.hello(), func(remote handshake.Hello) error {
			if err := t.Confirm(remote.Instance).Err(); err != nil {
				return err
			}
			return l.n.check(ctx, c, remote)
		})
		x.conclude(s, res, err)
	}()
}

// answer is the stream handler of the hello protocols.
func (l *links) answer(s network.Stream) {
	c := s.Conn()
	if c.Stat().Limited {
		s.Reset()
		return
	}
	x := l.begin(c)
	if x == nil {
		s.Reset()
		return
	}
	defer l.end(x)
	ctx, cancel := context.WithTimeout(l.ctx, timeout(l.n.cfg.HandshakeTimeout))
	defer cancel()
	x.pending = l.n.engine.Expect(c)
	res, err := handshake.Answer(ctx, s, l.n.hello(), func(remote handshake.Hello) error {
		if k := l.session(c.RemotePeer()); k != nil && k.conn == c {
			// A session that the peer had lost would have ended here as well,
			// and another process of the peer would have another connection.
			return handshake.ReasonAlreadyConnected
		}
		t, r := l.n.peers.Admit(c.RemotePeer(), network.DirInbound, remote.Instance)
		if r != handshake.ReasonNone {
			return r
		}
		x.ticket = t
		return l.n.check(ctx, c, remote)
	})
	x.conclude(s, res, err)
}

// openHello opens a stream on that very connection and negotiates one of the
// hello protocols on it. Its error is a *handshake.FailedError.
func openHello(ctx context.Context, c network.Conn, ids []protocol.ID) (network.Stream, error) {
	failed := func(err error) error {
		return &handshake.FailedError{Op: "open hello", Reason: handshake.ReasonOf(err), Err: err}
	}
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, failed(err)
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	id, err := multistream.SelectOneOf(ids, s)
	if err == nil {
		err = s.SetProtocol(id)
	}
	if err != nil {
		s.Reset()
		return nil, failed(errors.Join(err, context.Cause(ctx)))
	}
	return s, nil
}

// conclude makes a session of a handshake that both sides accepted, and
// disposes of any other.
func (x *shaking) conclude(s network.Stream, res handshake.Result, err error) {
	if err != nil {
		x.fail(err)
		return
	}
	arrived := x.l.arrive(x.c.RemotePeer())
	defer arrived()
	sess, err := x.pending.Attach(s)
	if err != nil {
		s.Reset()
		x.fail(err)
		return
	}
	x.l.adopt(x, &link{
		id: x.c.RemotePeer(), name: x.c.RemotePeer().String(), conn: x.c,
		session: sess, ticket: x.ticket, opener: x.opener, since: time.Now(),
		version: res.Version, agent: res.Remote.Agent, capabilities: res.Remote.Capabilities, payload: res.Remote.Payload,
	})
}

// fail accounts for a handshake without a session.
func (x *shaking) fail(err error) {
	l, n, p := x.l, x.l.n, x.c.RemotePeer()
	x.pending.Cancel()
	l.over(x)
	reason := handshake.ReasonOf(err)
	if reason == handshake.ReasonAlreadyConnected && x.opener && x.ticket == nil {
		// Not even tried. A second connection to a peer with a session was
		// dialled for protocols of its own; one beside a handshake that is being
		// answered is the loser of a simultaneous dial.
		if l.session(p) == nil {
			l.hangUpOn(x.c)
		}
		return
	}
	dir := network.DirInbound
	if x.opener {
		dir = network.DirOutbound
	}
	if x.ticket != nil {
		x.ticket.Abort(err)
	} else {
		n.peers.NoteRefused(p, dir, err)
	}
	fields := logrus.Fields{"peer": p.String(), "direction": dir.String(), "reason": reason.Label(), "error": obs.Clean(err.Error())}
	expected := foreigner(reason) && n.types.hasOpen()
	if !expected && (reason.Permanent() || reason == handshake.ReasonApplication) {
		n.obs.WarnLimited("links", "refused/"+reason.Label(), fields, "peer refused")
	} else {
		n.obs.Log("links").WithFields(fields).Debug("no session")
	}
	if panicked, ok := errors.AsType[*handshake.PanicError](err); ok {
		n.panicked("check", panicked.Value, panicked.Stack)
	}
	if reason != handshake.ReasonAlreadyConnected {
		l.announce(p, err)
	}
	if !foreigner(reason) || !n.types.hasOpen() {
		l.hangUpOn(x.c)
	}
	if reason.Permanent() {
		l.forgetLater(p)
	}
}

// foreigner tells of a peer without a session that it is of another network,
// and may be here for an open topic.
func foreigner(reason handshake.Reason) bool {
	switch reason {
	case handshake.ReasonNotNebnet, handshake.ReasonWrongChain, handshake.ReasonWrongGenesis:
		return true
	}
	return false
}

// hangUpOn closes a connection, unless it is of a host that is not ours.
func (l *links) hangUpOn(c network.Conn) {
	if l.n.opts.host == nil {
		c.Close()
	}
}

// forgetAfter leaves identify, which may still be at work on a connection that
// is being closed, the time to end.
const forgetAfter = 5 * time.Second

// forgetLater takes a peer that can never be one of ours out of libp2p's
// address book.
func (l *links) forgetLater(p peer.ID) {
	if l.n.opts.host != nil {
		return // the program may know the peer for reasons of its own
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(forgetAfter, func() {
		l.mu.Lock()
		delete(l.forgetting, t)
		l.mu.Unlock()
		if h := l.n.host; h.Network().Connectedness(p) != network.Connected {
			h.Peerstore().ClearAddrs(p)
			h.Peerstore().RemovePeer(p)
		}
	})
	l.forgetting[t] = true
}

// panicked notes a panic of a callback. A stack of nil is the caller's.
func (n *Node) panicked(callback string, value any, stack []byte) {
	n.obs.Panicked(obs.Panic{
		Component: "links", In: callback, Value: value, Stack: stack, Count: n.obs.Counter(obs.CallbackPanics),
	})
}

// hello is what this node says of itself, with the application's part as it
// is now.
func (n *Node) hello() handshake.Hello {
	return handshake.Hello{
		VersionMin: n.cfg.MinVersion, VersionMax: n.cfg.MaxVersion,
		ChainID: n.cfg.ChainID, Genesis: n.addrs.genesis,
		Agent: n.cfg.Agent, Capabilities: n.cfg.Capabilities,
		Instance: n.instance, Payload: n.payload(),
	}
}

// payload asks the program for its part of the hello. What is too long it notes
// and returns as it is: the handshake then fails.
func (n *Node) payload() (data []byte) {
	if n.opts.payload == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			n.panicked("payload", v, nil)
		}
	}()
	data = n.opts.payload()
	if len(data) > handshake.MaxPayload {
		n.obs.Counter(obs.PayloadTooLarge).Inc(1)
		n.obs.WarnLimited("links", "payload", logrus.Fields{"bytes": len(data), "limit": handshake.MaxPayload},
			"the payload is too long: no handshake succeeds")
	}
	return data
}

// checkPayload finds a payload that is too long before the first handshake.
func (n *Node) checkPayload() error {
	if size := len(n.payload()); size > handshake.MaxPayload {
		return &ConfigError{Field: "WithPayload", Err: fmt.Errorf("%w: has %d bytes, at most %d are allowed",
			ErrPayloadTooLarge, size, handshake.MaxPayload)}
	}
	return nil
}

// check asks the application about a peer.
func (n *Node) check(ctx context.Context, c network.Conn, remote handshake.Hello) error {
	if n.opts.check == nil {
		return nil
	}
	return n.opts.check(ctx, PeerHello{
		ID: c.RemotePeer(), Agent: remote.Agent, Capabilities: remote.Capabilities,
		Version: min(n.cfg.MaxVersion, remote.VersionMax), Payload: remote.Payload,
	})
}
