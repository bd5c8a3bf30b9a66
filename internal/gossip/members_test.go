package gossip

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// passes are the peers that passed the handshake.
type passes struct{ m sync.Map }

func (p *passes) has(id peer.ID) bool { _, ok := p.m.Load(id); return ok }

func (p *passes) set(n *node, member bool) {
	if member {
		p.m.Store(n.h.ID(), nil)
	} else {
		p.m.Delete(n.h.ID())
	}
}

func TestOnlyMembersTakePart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var passed passes
		only := func(c *Config, _ *declared) { c.Member = passed.has }
		a, b := w.node(only), w.node(only)
		out := w.node(nil) // takes everybody for a member
		w.full([]*node{a, b, out})
		passed.set(a, true)
		passed.set(b, true)
		for _, n := range []*node{a, b} {
			n.e.PeerJoined(a.h.ID())
			n.e.PeerJoined(b.h.ID())
		}
		settle()
		a.publish(t, "for members")
		_ = out.e.Publish(t.Context(), "tx", []byte("from outside"))
		settle()
		wantOnce(t, []*node{b}, "for members")
		if out.box.total() != 0 || a.box.total()+b.box.total() != 1 {
			t.Fatal("the outsider took part")
		}
		if s := a.e.Stats(); len(s.Peers) != 1 {
			t.Errorf("%+v", s.Peers)
		}

		passed.set(out, true) // becomes a member late
		a.e.PeerJoined(out.h.ID())
		b.e.PeerJoined(out.h.ID())
		settle()
		a.publish(t, "for all members")
		settle()
		wantOnce(t, []*node{b, out}, "for all members")

		passed.set(out, false)
		a.e.PeerLeft(out.h.ID())
		b.e.PeerLeft(out.h.ID())
		settle()
		a.publish(t, "without you")
		settle()
		wantOnce(t, []*node{b}, "without you")
		if out.box.count("without you") != 0 {
			t.Error("a peer that left was sent something")
		}
	})
}

func openType(name, topic string) msgtype.Spec {
	return msgtype.Spec{Name: name, Broadcast: msgtype.Broadcast{Topic: topic, Open: true}}
}

func TestOpenTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var passed passes
		only := func(c *Config, _ *declared) { c.Member = passed.has }
		a, b := w.node(only), w.node(only)
		out := w.node(nil)
		passed.set(a, true)
		passed.set(b, true)
		for _, n := range []*node{a, b, out} {
			must(t, n.e.Set(openType("chat", "public-chat"), true, nil))
		}
		w.full([]*node{a, b, out})
		time.Sleep(DefaultForeignAfter)
		settle()
		must(t, out.e.Publish(t.Context(), "chat", []byte("hello")))
		_ = out.e.Publish(t.Context(), "tx", []byte("not yours"))
		settle()
		wantOnce(t, []*node{a, b}, "hello")
		must(t, a.e.Publish(t.Context(), "chat", []byte("welcome")))
		a.publish(t, "for members")
		settle()
		wantOnce(t, []*node{b, out}, "welcome")
		wantOnce(t, []*node{b}, "for members")
		if a.box.count("not yours")+b.box.count("not yours")+out.box.count("for members") != 0 {
			t.Error("a closed topic leaked")
		}

		passed.set(out, true) // the foreigner becomes a member
		a.e.PeerJoined(out.h.ID())
		b.e.PeerJoined(out.h.ID())
		settle()
		a.publish(t, "now you too")
		settle()
		wantOnce(t, []*node{b, out}, "now you too")
	})
}

// A foreigner says once what it takes part in, perhaps before that is declared
// here.
func TestOpenTopicDeclaredLate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.node(func(c *Config, _ *declared) { c.Member = func(peer.ID) bool { return false } })
		out := w.node(nil)
		chat, late := openType("chat", "chat"), openType("late", "late")
		must(t, a.e.Set(chat, false, nil))
		for _, spec := range []msgtype.Spec{chat, late} {
			must(t, out.e.Set(spec, true, nil))
		}
		w.connect(a.h, out.h)
		time.Sleep(DefaultForeignAfter + time.Minute)
		must(t, a.e.Set(late, false, nil))
		settle()
		must(t, a.e.Publish(t.Context(), "late", []byte("hello")))
		settle()
		wantOnce(t, []*node{out}, "hello")
	})
}

// A session may end and begin again on one connection, often.
func TestMembershipThatFlaps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var out atomic.Bool
		only := func(c *Config, _ *declared) { c.Member = func(peer.ID) bool { return !out.Load() } }
		a, b := w.node(only), w.node(only)
		w.connect(a.h, b.h)
		for i := range 12 {
			time.Sleep(3 * time.Second)
			out.Store(true)
			a.e.PeerLeft(b.h.ID())
			b.e.PeerLeft(a.h.ID())
			time.Sleep(time.Second)
			out.Store(false)
			a.e.PeerJoined(b.h.ID())
			b.e.PeerJoined(a.h.ID())
			time.Sleep(15 * time.Second)
			a.publish(t, payload(i, 30))
			settle()
			wantOnce(t, []*node{b}, payload(i, 30))
		}
	})
}

func TestDirectPeersAndScores(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var scores atomic.Pointer[map[peer.ID]Score]
		bad := atomic.Pointer[peer.ID]{}
		a := w.node(func(c *Config, _ *declared) {
			c.OnScore = func(s map[peer.ID]Score) { scores.Store(&s) }
			c.AppScore = func(p peer.ID) float64 {
				if b := bad.Load(); b != nil && *b == p {
					return -1000
				}
				return 0
			}
		})
		b := w.node(nil)
		w.connect(a.h, b.h)
		settle()
		b.publish(t, "hello")
		settle()
		if s := *scores.Load(); s[b.h.ID()].Value <= 0 {
			t.Errorf("a peer that brought a message has %v", s)
		}
		id := b.h.ID()
		bad.Store(&id)
		settle()
		b.publish(t, "ignored")
		settle()
		if a.box.count("ignored") != 0 {
			t.Error("a graylisted peer was heard")
		}
		must(t, a.e.SetDirect(id, true))
		b.publish(t, "direct")
		settle()
		wantOnce(t, []*node{a}, "direct")
		must(t, a.e.SetDirect(id, false))
	})
}

// A score function that panics says 0. What panics is counted.
func TestScorePanics(t *testing.T) {
	for name, edit := range map[string]func(*Config, *declared){
		"AppScore": func(c *Config, _ *declared) { c.AppScore = func(peer.ID) float64 { panic("no score") } },
		"OnScore":  func(c *Config, _ *declared) { c.OnScore = func(map[peer.ID]Score) { panic("not interested") } },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a, b := w.node(edit), w.node(nil)
				w.connect(a.h, b.h)
				settle()
				b.publish(t, "hello")
				settle()
				wantOnce(t, []*node{a}, "hello")
				if s := a.e.Stats().Peers[b.h.ID()].Score; s <= 0 {
					t.Errorf("a peer that brought a message has %v", s)
				}
				if a.e.cfg.Obs.Counter(obs.GossipPanics).Count() == 0 {
					t.Error("no panic is counted")
				}
			})
		})
	}
}

// One stream of two dies; what both sides know of each other must come back.
func TestDeadStreamIsRenewed(t *testing.T) {
	for _, out := range []bool{true, false} {
		inBubble(t, func(t *testing.T, w *world) {
			a, b := w.node(nil), w.node(nil)
			w.connect(a.h, b.h)
			settle()
			settle()
			a.resetStream(b, out)
			time.Sleep(time.Minute)
			a.publish(t, "from a")
			b.publish(t, "from b")
			settle()
			wantOnce(t, []*node{b}, "from a")
			wantOnce(t, []*node{a}, "from b")
		})
	}
}

// resetStream ends the stream to or from another node.
func (n *node) resetStream(o *node, out bool) {
	n.e.mu.Lock()
	r := n.e.peers[o.h.ID()]
	s := r.in
	if out {
		s = r.out.stream
	}
	n.e.mu.Unlock()
	_ = s.Reset()
}
