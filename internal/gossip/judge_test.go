package gossip

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

// pair is a publisher and a receiver.
func (w *world) pair(edit func(c *Config, tx *Topic)) (pub, sub *node) {
	w.t.Helper()
	pub = w.node(nil)
	sub = w.node(edit)
	w.connect(pub.h, sub.h)
	settle()
	return pub, sub
}

func (n *node) tx() TypeStats { return n.e.Stats().Types["tx"] }

func TestVerdicts(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.Validate = func(_ context.Context, m Message) Verdict {
				switch string(m.Data) {
				case "good":
					return Accept()
				case "bad":
					return Reject()
				case "panic":
					panic("a bug of the program")
				}
				return Ignore()
			}
		})
		for _, s := range []string{"good", "bad", "panic", "boring"} {
			pub.publish(t, s)
		}
		settle()
		wantOnce(t, []*node{sub}, "good")
		s := sub.tx()
		if s.Delivered != 1 || s.Rejected != 1 || s.Ignored != 2 || s.Panics != 1 || sub.box.total() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestOwnInvalidMessageIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.Validate = func(context.Context, Message) Verdict { return Reject() }
		})
		if err := sub.e.Publish(t.Context(), "tx", []byte("x")); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	})
}

// A message turned away because the subscriber is full is taken when it comes
// again: here, when the sender's gossip announces it to a receiver that the
// router believes has seen it.
func TestFullSubscriberTakesTheNextCopy(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			set := func(c *Config, _ *Topic) { c.Identity = id }
			ns := w.nodes(13, set)
			w.full(ns) // more peers than a mesh has, so that some gossip
			settle()
			sub := ns[3]
			sub.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
			ns[0].publish(t, "precious")
			time.Sleep(500 * time.Millisecond)
			if s := sub.tx(); s.Away[awayFull] == 0 || s.Delivered != 0 {
				t.Fatalf("not turned away: %+v", s)
			}
			sub.box.setRefuse(nil)
			settle()
			wantOnce(t, ns[1:], "precious")
			if s := sub.tx(); s.Retaken == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestWaitWhenFull(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.OnFull = WaitWhenFull
			tx.Deadline = 3 * time.Second
			tx.Concurrency = 2
			tx.Queue = 1
		})
		room := make(chan struct{})
		sub.box.setRefuse(func(ctx context.Context, _ Message, wait bool) error {
			if !wait {
				t.Error("not asked to wait")
			}
			select {
			case <-room:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for i := range 4 {
			pub.publish(t, payload(i, 30))
		}
		time.Sleep(time.Second)
		if s := sub.tx(); s.Away[awayOverload] != 1 {
			t.Errorf("two wait for room, one for a slot, one is turned away: %+v", s)
		}
		close(room)
		time.Sleep(time.Second)
		if got := sub.box.total(); got != 3 {
			t.Errorf("%d delivered", got)
		}
		block := make(chan struct{})
		defer close(block)
		sub.box.setRefuse(func(ctx context.Context, _ Message, _ bool) error {
			<-ctx.Done()
			return ctx.Err()
		})
		pub.publish(t, "too late")
		settle()
		if s := sub.tx(); s.Away[awayTimeout] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestValidatorDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.Deadline = time.Second
			tx.Validate = func(ctx context.Context, _ Message) Verdict {
				<-ctx.Done()
				return Ignore()
			}
		})
		pub.publish(t, "slow")
		settle()
		if s := sub.tx(); s.Away[awayTimeout] != 1 || s.Ignored != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConcurrencyIsBoundedPerType(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var now, most atomic.Int64
		pub, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.Concurrency = 3
			tx.Validate = func(context.Context, Message) Verdict {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(100 * time.Millisecond)
				now.Add(-1)
				return Accept()
			}
		})
		must(t, sub.e.Declare(Topic{Type: "quick"}))
		must(t, sub.e.Join("quick"))
		must(t, pub.e.Declare(Topic{Type: "quick"}))
		settle()
		for i := range 30 {
			pub.publish(t, payload(i, 30))
		}
		must(t, pub.e.Publish(t.Context(), "quick", []byte("now")))
		time.Sleep(150 * time.Millisecond)
		wantOnce(t, []*node{sub}, "now")
		settle()
		if most.Load() != 3 || sub.box.total() != 31 {
			t.Errorf("%d at once, %d delivered", most.Load(), sub.box.total())
		}
	})
}

// deferring is a validator that knows which parents there are.
type deferring struct{ known atomic.Value }

func (d *deferring) validate(_ context.Context, m Message) Verdict {
	parent, _, _ := strings.Cut(string(m.Data), "/")
	if k, _ := d.known.Load().(string); strings.Contains(k, parent) {
		return Accept()
	}
	return Defer(parent)
}

func TestDeferAndResume(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		d := make([]deferring, 3)
		i := 0
		ns := w.nodes(3, func(_ *Config, tx *Topic) {
			tx.Validate, tx.TrustOwn = d[i].validate, true
			i++
		})
		w.connect(ns[0].h, ns[1].h) // a line: 2 hears only what 1 forwards
		w.connect(ns[1].h, ns[2].h)
		settle()
		d[2].known.Store("A")
		ns[0].publish(t, "A/1")
		ns[0].publish(t, "B/1")
		settle()
		if s := ns[1].e.Stats(); s.Parked != 2 || s.Types["tx"].Deferred != 2 || ns[2].box.total() != 0 {
			t.Fatalf("%+v", s)
		}
		d[1].known.Store("A")
		if n := ns[1].e.Resume("A"); n != 1 {
			t.Fatalf("%d resumed", n)
		}
		settle()
		wantOnce(t, ns[1:], "A/1")
		time.Sleep(DefaultParkTime)
		if s := ns[1].e.Stats(); s.Parked != 0 || s.ParkedBytes != 0 || s.Types["tx"].Expired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The parent arrives while the child is being validated.
func TestResumeDuringValidation(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var sub *node
		first := true
		pub, sub := w.pair(func(_ *Config, tx *Topic) {
			tx.Validate = func(context.Context, Message) Verdict {
				if first {
					first = false
					sub.e.Resume("parent")
					return Defer("parent")
				}
				return Accept()
			}
		})
		_ = sub
		pub.publish(t, "child")
		settle()
		wantOnce(t, []*node{sub}, "child")
	})
}

func TestParkingIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(c *Config, tx *Topic) {
			c.ParkedPerKey, c.ParkedPerPeer = 2, 3
			tx.Validate = func(_ context.Context, m Message) Verdict { return Defer(string(m.Data[:1])) }
		})
		for _, s := range []string{"a1", "a2", "a3", "b1", "b2"} {
			pub.publish(t, s)
		}
		settle()
		if s := sub.e.Stats(); s.Parked != 3 || s.Types["tx"].Away[awayParking] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestExplicitRelay(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			ns := w.nodes(3, func(c *Config, tx *Topic) {
				c.Identity = id
				tx.ExplicitRelay = true
			})
			w.connect(ns[0].h, ns[1].h)
			w.connect(ns[1].h, ns[2].h)
			settle()
			ns[0].publish(t, "slowly checked")
			settle()
			if ns[1].box.total() != 1 || ns[2].box.total() != 0 {
				t.Fatal("delivered at once, and forwarded later")
			}
			m := ns[1].box.last()
			for range 2 {
				must(t, ns[1].e.Relay(t.Context(), m))
			}
			settle()
			wantOnce(t, ns[1:], "slowly checked")
			got := ns[2].box.last()
			if id == Signed && got.Author != ns[0].h.ID() {
				t.Errorf("author %s", got.Author)
			}
			if s := ns[1].tx(); s.Relayed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A forged copy under the ID of a message that was turned away is not taken.
func TestForgedCopyOfATurnedAwayMessage(t *testing.T) {
	a := newAway(2)
	at := time.Now()
	a.add("id", [32]byte{1}, at)
	if a.take("id", func() [32]byte { return [32]byte{2} }) {
		t.Fatal("taken")
	}
	if !a.take("id", func() [32]byte { return [32]byte{1} }) || a.take("id", func() [32]byte { return [32]byte{1} }) {
		t.Fatal("want it once")
	}
}

func TestTimedTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		timed := func(_ *Config, tx *Topic) { tx.Timed = true }
		ns := w.nodes(2, timed)
		w.connect(ns[0].h, ns[1].h)
		settle()
		ns[0].publish(t, "when")
		settle()
		wantOnce(t, ns[1:], "when")
		h := ns[1].e.byType("tx").n.delay.Snapshot()
		if h.Count() != 1 || h.Max() < 50_000 || h.Max() > 60_000 {
			t.Errorf("%d values, at most %d us", h.Count(), h.Max())
		}
	})
}

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
		only := func(c *Config, _ *Topic) { c.Member = passed.has }
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

func TestOpenTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var passed passes
		only := func(c *Config, _ *Topic) { c.Member = passed.has }
		a, b := w.node(only), w.node(only)
		out := w.node(nil)
		passed.set(a, true)
		passed.set(b, true)
		for _, n := range []*node{a, b, out} {
			must(t, n.e.Declare(Topic{Type: "chat", Name: "public-chat", Open: true}))
			must(t, n.e.Join("chat"))
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

// A large message takes seconds to write, and small ones pass it.
func TestBulkTypesHaveStreamsOfTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, nil)
		for _, n := range ns {
			must(t, n.e.Declare(Topic{Type: "block", Bulk: true}))
			must(t, n.e.Join("block"))
		}
		w.connect(ns[0].h, ns[1].h)
		settle()
		w.net.SetBandwidth(w.net.Node(1), testnet.Bandwidth{Up: 8 << 20}) // 1 MiB a second
		block := payload(0, 6<<20)
		must(t, ns[0].e.Publish(t.Context(), "block", []byte(block)))
		time.Sleep(time.Second)
		ns[0].publish(t, "small")
		time.Sleep(1500 * time.Millisecond)
		wantOnce(t, ns[1:], "small")
		if ns[1].box.count(block) != 0 {
			t.Error("the large message took no time: nothing was tested")
		}
		time.Sleep(10 * time.Second)
		wantOnce(t, ns[1:], block)
	})
}

// A session may end and begin again on one connection, often.
func TestMembershipThatFlaps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var out atomic.Bool
		only := func(c *Config, _ *Topic) { c.Member = func(peer.ID) bool { return !out.Load() } }
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
		var scores atomic.Pointer[map[peer.ID]float64]
		bad := atomic.Pointer[peer.ID]{}
		a := w.node(func(c *Config, _ *Topic) {
			c.OnScore = func(s map[peer.ID]float64) { scores.Store(&s) }
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
		if s := *scores.Load(); s[b.h.ID()] <= 0 {
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
		must(t, a.e.SetDirect([]peer.AddrInfo{{ID: id}}))
		b.publish(t, "direct")
		settle()
		wantOnce(t, []*node{a}, "direct")
		must(t, a.e.SetDirect(nil))
	})
}
