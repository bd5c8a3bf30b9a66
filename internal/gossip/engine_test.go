package gossip

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

func TestBroadcastReachesEverybodyOnce(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			ns := w.nodes(8, func(c *Config, _ *declared) { c.Identity = id })
			for i, n := range ns { // a ring
				w.connect(n.h, ns[(i+1)%len(ns)].h)
			}
			settle()
			for i, n := range ns {
				n.publish(t, payload(i, 100))
			}
			settle()
			for i := range ns {
				others := append(append([]*node{}, ns[:i]...), ns[i+1:]...)
				wantOnce(t, others, payload(i, 100))
				if c := ns[i].box.count(payload(i, 100)); c != 0 {
					t.Errorf("publisher %d got its own message", i)
				}
			}
		})
	}
}

func TestFirstMessageWaitsForTheFirstPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, nil)
		ns[0].publish(t, "early")
		if s := ns[0].e.Stats().Types["tx"]; s.Queued != 1 || s.Waiting != 1 {
			t.Fatalf("not queued: %+v", s)
		}
		time.Sleep(3 * time.Second)
		w.connect(ns[0].h, ns[1].h)
		settle()
		wantOnce(t, ns[1:], "early")
	})
}

func TestPublishErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, tx *declared) { tx.Broadcast.PeerWait = -1; tx.MaxSize = 10 })
		ctx := t.Context()
		if err := n.e.Publish(ctx, "nope", nil); !errors.Is(err, ErrNotDeclared) {
			t.Errorf("undeclared: %v", err)
		}
		if err := n.e.Publish(ctx, "tx", make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("oversize: %v", err)
		}
		for range 2 { // a retry is no duplicate, since nobody had the first
			if err := n.e.Publish(ctx, "tx", make([]byte, 10)); !errors.Is(err, ErrNoPeers) {
				t.Errorf("no peers: %v", err)
			}
		}
		must(t, n.e.Close(ctx))
		if err := n.e.Publish(ctx, "tx", nil); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestPendingIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *declared) { c.Pending = 3 })
		for i := range 3 {
			n.publish(t, payload(i, 20))
		}
		if err := n.e.Publish(t.Context(), "tx", []byte("one more")); !errors.Is(err, ErrQueueFull) {
			t.Fatalf("want a full queue, have %v", err)
		}
		time.Sleep(msgtype.DefaultPeerWait + 2*time.Second)
		if s := n.e.Stats().Types["tx"]; s.Unsent != 3 || s.Waiting != 0 {
			t.Fatalf("not expired: %+v", s)
		}
		n.publish(t, "room again")
	})
}

func TestPublishWithoutJoining(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(4, nil)
		pub := w.node(nil)
		must(t, pub.e.Set(msgtype.Spec{Name: "tx"}, false, nil))
		w.full(append(ns, pub))
		settle()
		pub.publish(t, "through fanout")
		settle()
		wantOnce(t, ns, "through fanout")
		ns[0].publish(t, "not for you")
		settle()
		if pub.box.total() != 0 {
			t.Error("a node that left got a message")
		}
		must(t, pub.e.Set(msgtype.Spec{Name: "tx"}, true, nil))
		time.Sleep(time.Minute) // the back-off of leaving
		ns[1].publish(t, "back again")
		settle()
		wantOnce(t, []*node{pub}, "back again")
	})
}

func TestTypeThatIsNotBroadcastIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		must(t, n.e.Set(msgtype.Spec{Name: "tx", NoBroadcast: true}, false, nil))
		if err := n.e.Publish(t.Context(), "tx", nil); !errors.Is(err, ErrNotDeclared) {
			t.Fatal(err)
		}
		must(t, n.e.Set(msgtype.Spec{Name: "tx"}, true, nil))
	})
}

func TestCloseNamesAStuckValidator(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		stuck := make(chan struct{})
		ns := w.nodes(2, nil)
		slow := w.node(func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict { <-stuck; return Accept() }
		})
		w.full(append(ns, slow))
		settle()
		ns[0].publish(t, "hang")
		settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := slow.e.Close(ctx)
		close(stuck)
		var ce *CloseError
		if !errors.As(err, &ce) || !slices.Equal(ce.What, []string{"tx"}) {
			t.Fatalf("want the type's name alone, have %v", err)
		}
		slow.e.err = nil // for the clean-up
	})
}

func TestSetBeforeStart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.node(nil)
		b := &node{h: w.host(), box: newBox()}
		e, err := New(Config{Host: b.h, Network: testNetwork, Deliver: b.box.deliver})
		must(t, err)
		must(t, e.Set(msgtype.Spec{Name: "tx"}, true, nil))
		if err := e.Publish(t.Context(), "tx", nil); !errors.Is(err, ErrNotStarted) {
			t.Errorf("before start: %v", err)
		}
		w.connect(a.h, b.h)
		must(t, e.Start())
		if err := e.Start(); !errors.Is(err, ErrStarted) {
			t.Errorf("second start: %v", err)
		}
		settle()
		a.publish(t, "hello")
		settle()
		wantOnce(t, []*node{b}, "hello")
		must(t, e.Close(t.Context()))
		must(t, e.Close(t.Context()))
		if err := e.Start(); !errors.Is(err, ErrClosed) {
			t.Errorf("start after close: %v", err)
		}
	})
}

func TestCloseUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(4, func(_ *Config, tx *declared) {
			tx.validate = func(ctx context.Context, m Message) Verdict {
				select {
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
				}
				return Accept()
			}
		})
		w.full(ns)
		settle()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				err := ns[0].e.Publish(t.Context(), "tx", []byte(payload(i, 100)))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(300 * time.Millisecond)
		for _, n := range ns {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := n.e.Close(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
		<-stopped
	})
}
