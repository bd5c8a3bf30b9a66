package gossip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// What surrounds the data of thousands of small messages is no reason to refuse
// an answer: a newcomer gets all of them.
func TestManySmallMessagesForANewcomer(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Config, *declared)
		n    int
	}{
		{"signed", func(c *Config, _ *declared) { c.Identity = Signed }, 4000},
		{"long topic", func(_ *Config, tx *declared) { tx.Broadcast.Topic = "/their/" + strings.Repeat("x", 300) }, 2000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				edit := func(c *Config, tx *declared) { c.PeerQueue = 100_000; tc.edit(c, tx) }
				a, c := w.node(edit), w.node(edit)
				w.connect(a.h, c.h)
				settle()
				b := w.node(edit)
				for i := range tc.n {
					a.publish(t, fmt.Sprintf("message %d", i))
					if i%100 == 99 {
						time.Sleep(50 * time.Millisecond)
					}
				}
				w.connect(b.h, a.h)
				time.Sleep(20 * time.Second)
				if have := b.box.total(); have != tc.n {
					t.Errorf("the newcomer has %d of %d", have, tc.n)
				}
			})
		})
	}
}

// newGhost is a peer that grafts and takes no stream.
func newGhost(w *world, n *node) *rawPeer {
	r := &rawPeer{t: w.t, h: w.host()}
	w.connect(r.h, n.h)
	r.open(n)
	r.graft(reachTopic)
	return r
}

// Peers that graft, take no stream and go away leave nothing in the mesh.
func TestGraftsWithoutAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.node(func(c *Config, _ *declared) { c.Params = SmallNetwork(); c.Params.FloodPublish = false })
		var ghosts []*rawPeer
		for range 6 {
			ghosts = append(ghosts, newGhost(w, a))
		}
		time.Sleep(2 * time.Second)
		for _, g := range ghosts {
			_ = g.h.Close()
		}
		time.Sleep(time.Minute)
		b := w.node(nil)
		w.connect(a.h, b.h)
		settle()
		for i := range 10 {
			a.publish(t, fmt.Sprint("message ", i))
		}
		settle()
		if s := a.tx(); s.Dropped != 0 || b.box.total() != 10 {
			t.Errorf("%d copies dropped, b has %d of 10", s.Dropped, b.box.total())
		}
	})
}

// A graft that came before the stream to the peer counts once there is one.
func TestEarlyGraft(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		// Nobody is grafted by a itself.
		a := w.node(func(c *Config, _ *declared) {
			c.Params = SmallNetwork()
			c.Params.D, c.Params.Dlo, c.Params.Dhi, c.Params.Dscore, c.Params.Dout = 2, 1, 5, 0, 0
		})
		b, c := w.node(nil), w.node(nil)
		w.connect(a.h, b.h)
		w.connect(a.h, c.h)
		settle()
		if m := a.tx().Mesh; m != 2 {
			t.Fatalf("%d peers in the mesh", m)
		}
		r := newGhost(w, a)
		settle()
		if m := a.tx().Mesh; m != 2 {
			t.Errorf("%d peers in the mesh, one of them cannot be sent to", m)
		}
		r.h.SetStreamHandler(pubsub.GossipSubID_v12, r.read)
		settle()
		if m := a.tx().Mesh; m != 3 {
			t.Errorf("%d peers in the mesh after the stream was opened", m)
		}
	})
}

// A newcomer is told of the topics that it subscribes to, and of no others.
func TestGreetingIsOfSharedTopics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n, o := w.node(nil), w.node(nil)
		for _, x := range []*node{n, o} {
			must(t, x.e.Set(msgtype.Spec{Name: "secret"}, true, nil))
		}
		w.connect(n.h, o.h)
		settle()
		must(t, n.e.Publish(t.Context(), "secret", []byte("x")))
		n.publish(t, "y")
		told := make(map[string]int)
		for _, rpc := range w.raw(n).drain() { // subscribes to tx only
			for _, h := range rpc.GetControl().GetIhave() {
				told[h.GetTopicID()] += len(h.GetMessageIDs())
			}
		}
		if len(told) != 1 || told[reachTopic] != 1 {
			t.Errorf("told %v", told)
		}
	})
}

// A peer that takes no part in gossip, for its score, is not greeted.
func TestNoGreetingBelowTheThreshold(t *testing.T) {
	for _, bad := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			n, o := w.node(nil), w.node(nil)
			r := &rawPeer{t: w.t, h: w.host()}
			r.h.SetStreamHandler(pubsub.GossipSubID_v12, r.read)
			w.connect(r.h, n.h)
			w.connect(n.h, o.h)
			if bad {
				for range 4 {
					n.e.fault(r.h.ID(), "test")
				}
			}
			settle()
			o.publish(t, "x")
			time.Sleep(500 * time.Millisecond)
			r.open(n)
			time.Sleep(400 * time.Millisecond)
			told := 0
			for _, rpc := range r.drain() {
				for _, h := range rpc.GetControl().GetIhave() {
					told += len(h.GetMessageIDs())
				}
			}
			if bad != (told == 0) {
				t.Errorf("bad %v: told of %d", bad, told)
			}
		})
	}
}

// A message that waited for the first peer is not announced for every time that it
// waited in vain.
func TestAnnouncementsOfAWaitingMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.node(nil)
		a.publish(t, "one")
		time.Sleep(9 * time.Second)
		b := w.node(nil)
		w.connect(b.h, a.h)
		settle()
		if n := a.tx().Announced; n > 2 || b.box.total() != 1 {
			t.Errorf("announced %d times, b has %d", n, b.box.total())
		}
	})
}
