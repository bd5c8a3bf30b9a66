package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
)

// world is a network of managers whose handshakes are played message by
// message, each with a random latency of its own, so that every crossing
// happens sooner or later.
type world struct {
	t       *testing.T
	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	nodes   map[peer.ID]*simNode
	cut     bool
	nextUID uint64
}

// simNode is one run of one node.
type simNode struct {
	w        *world
	id       peer.ID
	instance uint64
	m        *Manager
	dead     bool // crashed: says and hears nothing any more
	sessions map[peer.ID]*simEnd
}

// simEnd is one end of a session or of its handshake.
type simEnd struct {
	uid    uint64
	node   *simNode
	remote *simEnd
	t      *Admission
}

func (w *world) latency() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.Int64N(int64(400 * time.Millisecond)))
}

func (w *world) start(id peer.ID) *simNode {
	w.mu.Lock()
	w.nextUID++
	n := &simNode{w: w, id: id, instance: w.nextUID, sessions: map[peer.ID]*simEnd{}}
	seed := w.rng.Uint64()
	w.mu.Unlock()
	m, err := New(Config{
		Self: id, MaxPeers: 10, InboundShare: 1, Connect: n.connect,
		Rand: rand.New(rand.NewPCG(seed, 1)).Float64,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.m = m
	w.mu.Lock()
	w.nodes[id] = n
	w.mu.Unlock()
	m.Start()
	return n
}

// reach is the node that a message sent now gets to.
func (w *world) reach(from *simNode, to peer.ID) *simNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut || from.dead || w.nodes[to] == nil || w.nodes[to].dead {
		return nil
	}
	return w.nodes[to]
}

var errLost = errors.New("message lost")

// send waits a message's latency and tells whether it arrives at the same run
// of the node that the exchange began with.
func (n *simNode) send(to *simNode) bool {
	time.Sleep(n.w.latency())
	return n.w.reach(n, to.id) == to
}

// connect is the opener's side, and plays the answerer's with it.
func (n *simNode) connect(ctx context.Context, ai peer.AddrInfo) error {
	remote := n.w.reach(n, ai.ID)
	if remote == nil {
		time.Sleep(n.w.latency())
		return errLost
	}
	time.Sleep(n.w.latency()) // the connection
	t, r := n.m.Admit(ai.ID, dirOut, 0, nil)
	if r != none {
		return r
	}
	err := n.hello(ctx, t, remote)
	if err != nil {
		t.Abort(err)
	}
	return err
}

func (n *simNode) hello(ctx context.Context, t *Admission, remote *simNode) error {
	lost := func() error { // nothing comes back: the deadline ends it
		select {
		case <-time.After(handshake.DefaultTimeout):
		case <-ctx.Done():
		}
		return handshake.ReasonTimeout
	}
	if !n.send(remote) {
		return lost()
	}
	rt, r := remote.m.Admit(n.id, dirIn, n.instance, nil)
	if r != none {
		if !remote.send(n) {
			return lost()
		}
		return &handshake.RefusedError{Reason: r, ByRemote: true}
	}
	answerTimer := time.AfterFunc(handshake.DefaultTimeout, func() { rt.Abort(handshake.ReasonTimeout) })
	if !remote.send(n) {
		return lost()
	}
	if r := t.Confirm(remote.instance); r != none {
		go func() {
			if n.send(remote) {
				answerTimer.Stop()
				rt.Abort(&handshake.RefusedError{Reason: r, ByRemote: true})
			}
		}()
		return r
	}
	n.w.mu.Lock()
	n.w.nextUID++
	mine := &simEnd{uid: n.w.nextUID, node: n, t: t}
	theirs := &simEnd{uid: n.w.nextUID, node: remote, t: rt}
	n.w.mu.Unlock()
	mine.remote, theirs.remote = theirs, mine
	if r := mine.stand(remote.id); r != none {
		return r // the stream is reset, which the answerer's deadline stands for
	}
	go func() { // the accept
		if !n.send(remote) {
			return
		}
		if !answerTimer.Stop() || theirs.stand(n.id) != none {
			theirs.end(alreadyConnected, false)
		}
	}()
	return nil
}

// stand turns the admission into a session.
func (e *simEnd) stand(with peer.ID) handshake.Reason {
	e.node.w.mu.Lock()
	old := e.node.sessions[with]
	e.node.sessions[with] = e
	e.node.w.mu.Unlock()
	r := e.t.Commit(func(r handshake.Reason) { go e.end(r, false) }, func() {})
	if r != none {
		e.node.w.mu.Lock()
		if e.node.sessions[with] == e {
			delete(e.node.sessions, with)
			if old != nil {
				e.node.sessions[with] = old
			}
		}
		e.node.w.mu.Unlock()
	}
	return r
}

// end takes one end down and tells the other one.
func (e *simEnd) end(r handshake.Reason, byRemote bool) {
	e.node.w.mu.Lock()
	for p, s := range e.node.sessions {
		if s == e {
			delete(e.node.sessions, p)
		}
	}
	e.node.w.mu.Unlock()
	e.t.Release(r, byRemote)
	if byRemote {
		return
	}
	go func() {
		if e.node.send(e.remote.node) {
			e.remote.end(r, true)
		}
	}()
}

// pings ends sessions whose other end is gone, as the session engine does.
func (w *world) pings(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-time.After(25 * time.Second):
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		var gone []*simEnd
		for _, n := range w.nodes {
			for _, e := range n.sessions {
				other := e.remote.node
				if w.cut || other.dead || other.sessions[n.id] != e.remote {
					gone = append(gone, e)
				}
			}
		}
		w.mu.Unlock()
		for _, e := range gone {
			e.end(handshake.ReasonPingTimeout, false)
		}
	}
}

// check tells whether each two nodes have one session and both ends agree.
func (w *world) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.nodes {
		if got, want := a.m.live(), len(w.nodes)-1; got != want {
			return fmt.Errorf("%s has %d sessions, want %d", string(a.id), got, want)
		}
		for _, b := range w.nodes {
			if a == b {
				continue
			}
			x, y := a.sessions[b.id], b.sessions[a.id]
			if x == nil || y == nil || x.uid != y.uid {
				return fmt.Errorf("%s and %s do not hold the same session: %v %v", string(a.id), string(b.id), x, y)
			}
		}
	}
	return nil
}

// Nodes that all dial each other end with one session each two, the same at
// both ends, whatever the order of messages; and so they do after a crash and
// restart, after one side has lost a session, and after a partition. The rules
// do that at once: no ping has to notice anything, and no hello is sent twice.
func TestConverge(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 2)), nodes: map[peer.ID]*simNode{}}
				ids := []peer.ID{"A", "B", "C"}
				link := func(n *simNode) {
					for _, p := range ids {
						if p != n.id {
							n.m.Name(peer.AddrInfo{ID: p}, RoleStatic)
						}
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer func() {
					cancel()
					for _, n := range w.nodes {
						n.m.Close()
					}
					time.Sleep(time.Minute)
				}()
				go w.pings(ctx)
				for _, id := range ids {
					w.start(id)
				}
				for _, id := range ids {
					link(w.nodes[id])
				}
				converged := func(when string, within time.Duration) {
					t.Helper()
					time.Sleep(within)
					if err := w.check(); err != nil {
						t.Fatalf("%s: %v", when, err)
					}
				}
				const atOnce = 4 * 400 * time.Millisecond // connection, hello, answer, accept
				converged("start", atOnce)

				old := w.nodes["B"]
				w.mu.Lock()
				old.dead = true
				w.mu.Unlock()
				old.m.Close()
				time.Sleep(w.latency())
				link(w.start("B"))
				converged("after a restart", atOnce)

				time.Sleep(handshake.DefaultTimeout)
				w.mu.Lock()
				lost := w.nodes["A"].sessions["C"]
				w.mu.Unlock()
				lost.end(handshake.ReasonTransportLost, true) // and C is not told
				converged("after one side lost the session", backoffSoon.base+atOnce)

				w.mu.Lock()
				w.cut = true
				w.mu.Unlock()
				time.Sleep(5 * time.Minute)
				w.mu.Lock()
				w.cut = false
				w.mu.Unlock()
				converged("after a partition", 2*backoffSoon.max)

			})
		})
	}
}
