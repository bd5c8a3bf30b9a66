package gossip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// A message that met no peer in time was sent to nobody: the same content again
// is no duplicate.
func TestUnsentMessagesMayBePublishedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, nil)
		ns[0].publish(t, "x")
		time.Sleep(msgtype.DefaultPeerWait + 2*time.Second)
		if s := ns[0].tx(); s.Unsent != 1 || s.Waiting != 0 {
			t.Fatalf("%+v", s)
		}
		ns[0].publish(t, "x")
		must(t, ns[0].e.Set(msgtype.Spec{Name: "tx", NoBroadcast: true}, false, nil))
		must(t, ns[0].e.Set(msgtype.Spec{Name: "tx"}, false, nil))
		ns[0].publish(t, "x")
		w.connect(ns[0].h, ns[1].h)
		settle()
		wantOnce(t, ns[1:], "x")
	})
}

// Equal messages at once: one is sent, and the others learn what became of it.
func TestEqualMessagesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(nil)
		alone := w.node(func(_ *Config, tx *declared) { tx.Broadcast.PeerWait = -1 })
		errs := map[error]*atomic.Int64{nil: {}, ErrDuplicate: {}, ErrNoPeers: {}}
		var wg sync.WaitGroup
		for range 20 {
			for _, n := range []*node{pub, alone} {
				wg.Go(func() {
					err := n.e.Publish(t.Context(), "tx", []byte("same"))
					for want, n := range errs {
						if errors.Is(err, want) {
							n.Add(1)
							return
						}
					}
					t.Error(err)
				})
			}
		}
		wg.Wait()
		if errs[nil].Load() != 1 || errs[ErrDuplicate].Load() != 19 || errs[ErrNoPeers].Load() != 20 {
			t.Errorf("%d sent, %d duplicates, %d without peers", errs[nil].Load(), errs[ErrDuplicate].Load(), errs[ErrNoPeers].Load())
		}
		settle()
		wantOnce(t, []*node{sub}, "same")
	})
}

// A signed node that has restarted is told of its own messages. Whoever does so
// means well.
func TestOwnMessagesComeBackAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.node(func(c *Config, _ *declared) { c.Identity = Signed })
		r := w.raw(a)
		a.publish(t, "mine")
		settle()
		var mine []*pb.Message
		for _, rpc := range r.drain() {
			mine = append(mine, rpc.GetPublish()...)
		}
		if len(mine) != 1 {
			t.Fatalf("%d messages came", len(mine))
		}
		again := w.restart(a, Config{Identity: Signed}, nil)
		settle()
		r.open(again)
		r.send(&pb.RPC{Publish: mine})
		settle()
		s := again.e.Stats()
		if s.Types["tx"].Duplicates == 0 {
			t.Fatalf("it was not told: %+v", s)
		}
		if s.Types["tx"].Rejected != 0 || r.score(again) < 0 || again.box.total() != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Properties change in the middle of traffic, and nothing is lost or passes
// unseen.
func TestChangeUnderTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var judged atomic.Int64
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict { judged.Add(1); return Accept() }
		})
		const all = 600
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range all {
				_ = pub.e.Publish(t.Context(), "tx", []byte(payload(i, 30)))
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 20 {
			spec := msgtype.Spec{Name: "tx", Broadcast: msgtype.Broadcast{Concurrency: 1 + i}}
			var validate Validator
			if i%2 == 1 {
				validate = func(context.Context, Message) Verdict { judged.Add(1); return Accept() }
			}
			must(t, sub.e.Set(spec, true, validate))
			if m := sub.tx().Mesh; m != 1 {
				t.Fatalf("mesh of %d after change %d", m, i)
			}
			time.Sleep(20 * time.Millisecond)
		}
		<-done
		time.Sleep(10 * time.Second)
		if got := sub.box.total(); got != all || judged.Load() == 0 || judged.Load() == all {
			t.Errorf("%d delivered, %d judged: %+v", got, judged.Load(), sub.tx())
		}
	})
}

func TestChange(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict { return Defer("k") }
		})
		e := ns[0].e
		must(t, e.Set(msgtype.Spec{Name: "other"}, false, nil))
		taken := "/" + testNetwork + "/other"
		if err := e.Set(msgtype.Spec{Name: "tx", Broadcast: msgtype.Broadcast{Topic: taken}}, true, nil); !errors.Is(err, ErrTopicTaken) {
			t.Error(err)
		}
		if err := e.Set(msgtype.Spec{Name: "tx", MaxSize: -1}, true, nil); err == nil {
			t.Error("a size of -1 is taken")
		}
		must(t, e.Publish(t.Context(), "tx", []byte("waits")))
		must(t, e.Set(msgtype.Spec{Name: "tx", MaxSize: 10}, true, nil))
		if err := e.Publish(t.Context(), "tx", make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		w.connect(ns[0].h, ns[1].h)
		settle()
		if s := ns[1].e.Stats(); s.Parked != 1 {
			t.Fatalf("what waited for a peer did not come: %+v", s)
		}
		must(t, ns[1].e.Set(msgtype.Spec{Name: "tx"}, true, nil))
		ns[1].e.Resume("k")
		settle()
		wantOnce(t, ns[1:], "waits")

		for _, n := range ns { // another topic
			must(t, n.e.Set(msgtype.Spec{Name: "tx", Broadcast: msgtype.Broadcast{Topic: "/elsewhere"}}, true, nil))
		}
		settle()
		ns[0].publish(t, "moved")
		settle()
		wantOnce(t, ns[1:], "moved")
	})
}

// What was queued for a peer that went away is counted.
func TestFramesLostWithTheirStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(nil)
		w.net.StopReading(w.net.Node(2))
		for i := range 5 {
			pub.publish(t, payload(i, 1<<20-4096))
		}
		_ = pub.h.Network().ClosePeer(sub.h.ID())
		settle()
		if s := pub.tx(); s.Dropped == 0 || s.Dropped > 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(nil)
		const all = 300
		for i := range all {
			pub.publish(t, payload(i, 2000))
		}
		must(t, pub.e.Close(t.Context()))
		settle()
		if got := sub.box.total(); got != all {
			t.Errorf("%d of %d arrived", got, all)
		}
	})
}

func TestCloseCountsWhatItGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		alone := w.node(nil)
		alone.publish(t, "nobody there")
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict { return Defer("k") }
		})
		pub.publish(t, "never resumed")
		settle()
		must(t, alone.e.Close(t.Context()))
		must(t, sub.e.Close(t.Context()))
		if s := alone.tx(); s.Unsent != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		if s := sub.e.Stats(); s.Parked != 0 || s.Types["tx"].Expired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A validator that defers again under a key that was just resumed: it is asked
// once per Resume.
func TestDeferAgainAtTheInstantOfResume(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var calls atomic.Int64
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict { calls.Add(1); return Defer("k") }
		})
		pub.publish(t, "orphan")
		settle()
		for i := range 3 {
			if n := sub.e.Resume("k"); n != 1 {
				t.Fatalf("%d resumed", n)
			}
			settle()
			if n := calls.Load(); n != int64(i+2) {
				t.Fatalf("judged %d times", n)
			}
		}
	})
}

// Resumed messages that wait for their turn keep their places: no more can be
// waiting than can be deferred.
func TestResumedMessagesKeepTheirPlaces(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		var resumed atomic.Bool
		pub, sub := w.pair(func(c *Config, tx *declared) {
			c.Parked, tx.Broadcast.Concurrency = 4, 1
			tx.validate = func(context.Context, Message) Verdict {
				if !resumed.Load() {
					return Defer("k")
				}
				<-release
				return Accept()
			}
		})
		for i := range 4 {
			pub.publish(t, fmt.Sprint(i))
		}
		settle()
		resumed.Store(true)
		if n := sub.e.Resume("k"); n != 4 {
			t.Fatalf("%d resumed", n)
		}
		time.Sleep(time.Second)
		if s := sub.e.Stats(); s.Parked != 3 { // one is being validated
			t.Errorf("%d places taken", s.Parked)
		}
		close(release)
		settle()
		if s := sub.e.Stats(); s.Parked != 0 || s.ParkedBytes != 0 || sub.box.total() != 4 {
			t.Errorf("%d delivered: %+v", sub.box.total(), s)
		}
	})
}

// A deferred message that nobody resumed in time is taken when it comes again.
func TestExpiredMessageComesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var known atomic.Bool
		n := w.node(func(_ *Config, tx *declared) {
			tx.Broadcast.ParkTime = time.Second
			tx.validate = func(context.Context, Message) Verdict {
				if known.Load() {
					return Accept()
				}
				return Defer("k")
			}
		})
		r := w.raw(n)
		r.say("child")
		settle()
		if s := n.tx(); s.Expired != 1 {
			t.Fatalf("%+v", s)
		}
		for _, rpc := range r.drain() {
			if len(rpc.GetControl().GetIwant()) > 0 {
				t.Error("asked for again, though nobody resumed it")
			}
		}
		known.Store(true)
		r.say("child")
		settle()
		wantOnce(t, []*node{n}, "child")
	})
}
