package gossip

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

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
		ns := w.nodes(3, func(_ *Config, tx *declared) {
			tx.validate = d[i].validate
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
		time.Sleep(msgtype.DefaultParkTime)
		if s := ns[1].e.Stats(); s.Parked != 0 || s.ParkedBytes != 0 || s.Types["tx"].Expired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The parent arrives while the child is being validated.
func TestResumeDuringValidation(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var sub *node
		var asked atomic.Bool
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.validate = func(context.Context, Message) Verdict {
				if asked.CompareAndSwap(false, true) {
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
		pub, sub := w.pair(func(c *Config, tx *declared) {
			c.ParkedPerKey, c.ParkedPerPeer = 2, 3
			tx.validate = func(_ context.Context, m Message) Verdict { return Defer(string(m.Data[:1])) }
		})
		for _, s := range []string{"a1", "a2", "a3", "b1", "b2"} {
			pub.publish(t, s)
		}
		settle()
		if s := sub.e.Stats(); s.Parked != 3 || s.Types["tx"].Away[awayParking] < 2 {
			t.Errorf("%+v", s)
		}
	})
}
