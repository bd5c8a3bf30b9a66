package netservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/session"
)

// handshaking is one handshake under way. It belongs to one goroutine.
type handshaking struct {
	s         *peerSet
	e         *peerEntry
	c         network.Conn
	opener    bool
	began     time.Time
	admission *peers.Admission // its place among the peers, once it has one
}

// maxHellos bounds the handshakes under way on one connection: an own one, one
// that the peer opened at the same time, and those of a peer that was restarted.
const maxHellos = 4

// beginHello notes a handshake on a connection, until it is over; its goroutine
// ends with end. It is nil when this node says hello there already, when there
// are too many, or when the node is closing.
func (s *peerSet) beginHello(c network.Conn, opener bool) *handshaking {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil
	}
	e := s.entryLocked(c.RemotePeer())
	here := 0
	for _, x := range e.hellos {
		if x.c != c {
			continue
		}
		if here++; here == maxHellos || opener && x.opener {
			return nil
		}
	}
	x := &handshaking{s: s, e: e, c: c, opener: opener, began: time.Now()}
	e.hellos = append(e.hellos, x)
	s.helloCameLocked(c)
	s.wg.Add(1)
	return x
}

// failed takes a handshake without a session out of the set. The next one may
// begin before anybody hears of the outcome: whoever hears may want that next one.
func (x *handshaking) failed(err error) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if handshake.ReasonOf(err) != handshake.ReasonAlreadyConnected { // another one decides
		x.e.failures++
		x.e.failure = err
	}
	x.overLocked()
	if !x.e.shakingLocked(x.c) {
		x.s.decidedLocked(x.c)
	}
}

// overLocked takes the handshake out of the set.
func (x *handshaking) overLocked() {
	x.e.hellos = slices.DeleteFunc(x.e.hellos, func(o *handshaking) bool { return o == x })
	x.s.changedLocked(x.c.RemotePeer(), x.e)
}

func (x *handshaking) end() {
	x.s.mu.Lock()
	x.overLocked()
	x.s.mu.Unlock()
	x.s.wg.Done()
}

// shake opens a hello on a connection, unless there is one already.
func (s *peerSet) shake(c network.Conn) {
	x := s.beginHello(c, true)
	if x == nil {
		return
	}
	go func() {
		defer x.end()
		ctx, cancel := context.WithTimeout(s.ctx, timeout(s.n.cfg.HandshakeTimeout))
		defer cancel()
		t, r := s.n.peers.Admit(c.RemotePeer(), network.DirOutbound, 0, c.RemoteMultiaddr())
		if r != handshake.ReasonNone {
			x.fail(&handshake.RefusedError{Reason: r})
			return
		}
		x.admission = t
		st, err := openHello(ctx, c, handshake.Protocols(s.n.network))
		if err != nil {
			x.fail(err)
			return
		}
		res, err := handshake.Open(ctx, st, s.n.hello(), func(remote handshake.Hello) error {
			if err := t.Confirm(remote.Instance).Err(); err != nil {
				return err
			}
			return s.n.check(ctx, c, remote)
		})
		x.conclude(st, res, err)
	}()
}

// answer is the stream handler of the hello protocols.
func (s *peerSet) answer(st network.Stream) {
	c := st.Conn()
	if c.Stat().Limited {
		st.Reset()
		return
	}
	x := s.beginHello(c, false)
	if x == nil {
		st.Reset()
		return
	}
	defer s.n.guests.remove(c.RemotePeer()) // it is none any more when the connection is closed
	defer x.end()
	ctx, cancel := context.WithTimeout(s.ctx, timeout(s.n.cfg.HandshakeTimeout))
	defer cancel()
	res, err := handshake.Answer(ctx, st, s.n.hello(), func(remote handshake.Hello) error {
		if k := s.get(c.RemotePeer()); k != nil && k.conn == c {
			// A session that the peer had lost would have ended here as well,
			// and another process of the peer would have another connection.
			return handshake.ReasonAlreadyConnected
		}
		t, r := s.n.peers.Admit(c.RemotePeer(), network.DirInbound, remote.Instance, c.RemoteMultiaddr())
		if r == handshake.ReasonTooManyPeers {
			s.n.guests.add(c.RemotePeer()) // it may ask as soon as it has read the refusal
		}
		if r != handshake.ReasonNone {
			return r
		}
		x.admission = t
		return s.n.check(ctx, c, remote)
	})
	x.conclude(st, res, err)
}

// openHello opens a stream of one of the hello protocols. Its error is a
// *handshake.FailedError.
func openHello(ctx context.Context, c network.Conn, ids []protocol.ID) (network.Stream, error) {
	st, err := openOn(ctx, c, ids)
	if err != nil {
		return nil, &handshake.FailedError{Op: "open hello", Reason: handshake.ReasonOf(err), Err: err}
	}
	return st, nil
}

// openOn opens a stream on that very connection and negotiates one of the protocols
// on it. The stream has the deadline of ctx.
func openOn(ctx context.Context, c network.Conn, ids []protocol.ID) (network.Stream, error) {
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
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
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return s, nil
}

// conclude makes a session of a handshake that both sides accepted, and
// disposes of any other.
func (x *handshaking) conclude(st network.Stream, res handshake.Result, err error) {
	if err != nil {
		x.fail(err)
		return
	}
	sess, err := x.attach(st)
	if err != nil {
		if errors.Is(err, session.ErrClosed) { // else it ends with its session
			st.Reset()
		}
		x.fail(err)
		return
	}
	x.s.n.obs.Histogram(obs.HandshakeTime).Update(time.Since(x.began).Microseconds())
	x.s.onSession(x, &sessionPeer{
		id: sess.Peer(), name: sess.Name(), conn: x.c,
		session: sess, admission: x.admission, opener: x.opener, since: time.Now(),
		number: fmt.Sprintf("%016x", res.Session), version: res.Version, agent: res.Remote.Agent, capabilities: res.Remote.Capabilities,
	}, res.Remote.Payload)
}

// attach waits for the peer's first offers, as long as a handshake may take.
func (x *handshaking) attach(st network.Stream) (*session.Session, error) {
	ctx, cancel := context.WithTimeout(x.s.ctx, timeout(x.s.n.cfg.HandshakeTimeout))
	defer cancel()
	return x.s.n.engine.Attach(ctx, st)
}

// fail accounts for a handshake without a session.
func (x *handshaking) fail(err error) {
	s, n, p := x.s, x.s.n, x.c.RemotePeer()
	reason := handshake.ReasonOf(err)
	if handshake.HostFull(err) {
		x.c.Close() // it is dead, but is not known as such for a moment: the next dial would be given it again
	}
	x.failed(err)
	if reason == handshake.ReasonAlreadyConnected && x.opener && x.admission == nil {
		// Not even tried. A second connection to a peer with a session was
		// dialled for protocols of its own; one beside a handshake that is being
		// answered is the loser of a simultaneous dial.
		if !s.has(p) {
			s.hangUp(x.c)
		}
		return
	}
	dir := network.DirInbound
	if x.opener {
		dir = network.DirOutbound
	}
	if x.admission != nil {
		x.admission.Abort(err)
	} else {
		n.peers.NoteRefused(p, dir, err)
	}
	fields := logrus.Fields{"peer": p.String(), "direction": dir.String(), "reason": reason.Label(), "error": obs.Clean(err.Error())}
	foreigner := foreigner(reason) && n.servesStrangers()
	if !foreigner && (reason.Permanent() || reason == handshake.ReasonApplication) {
		// The one mistake of a configuration that shows here only.
		n.obs.InfoLimited("peerset", "refused/"+reason.Label(), fields, "peer refused")
	} else {
		n.obs.Log("peerset").WithFields(fields).Debug("no session")
	}
	if panicked, ok := errors.AsType[*handshake.PanicError](err); ok {
		n.panicked("check", panicked.Value, panicked.Stack)
	}
	if reason == handshake.ReasonTooManyPeers {
		n.seeOff(s.ctx, x, err)
	}
	if !foreigner {
		s.hangUp(x.c)
	}
	if reason.Permanent() {
		s.forgetLater(p)
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

// panicked notes a panic of a callback. A stack of nil is the caller's.
func (n *Node) panicked(callback string, value any, stack []byte) {
	n.obs.Panicked(obs.Panic{
		Component: "peerset", In: callback, Value: value, Stack: stack, Count: n.obs.Counter(obs.CallbackPanics),
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
		n.obs.WarnLimited("peerset", "payload", logrus.Fields{"bytes": len(data), "limit": handshake.MaxPayload},
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
	n.obs.Labels("handshake").Apply()
	var err error
	obs.Callback(func() {
		err = n.opts.check(ctx, PeerHello{
			ID: c.RemotePeer(), Agent: remote.Agent, Capabilities: remote.Capabilities,
			Version: min(n.cfg.MaxVersion, remote.VersionMax), Payload: remote.Payload,
		})
	})
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.inner()
	}
	if r, ok := err.(DisconnectReason); ok { // the reason alone, not twice in the text
		return handshake.Reason(r).Err()
	}
	return err
}
