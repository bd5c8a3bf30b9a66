package gossip

import (
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// slowly has so long a heartbeat that a test can act between two of them.
func slowly(c *Config, _ *declared) {
	c.Params = SmallNetwork()
	c.Params.Heartbeat = 20 * time.Second
}

// A message that comes while a peer is known and not in the mesh yet reaches the
// peer when it is grafted: the router itself would announce it to those outside
// of the mesh only.
func TestGraftedPeersLearnWhatWasSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, c := w.node(slowly), w.node(slowly)
		w.connect(a.h, c.h)
		time.Sleep(25 * time.Second)
		b := w.node(slowly)
		w.connect(b.h, a.h)
		time.Sleep(2 * time.Second)
		if p := a.e.Stats().Peers[b.h.ID()]; p.Protocol == "" || len(p.Mesh) > 0 {
			t.Fatalf("not between the two heartbeats: %+v", p)
		}
		c.publish(t, "said while the mesh forms")
		time.Sleep(time.Second)
		if a.box.total() != 1 || b.box.total() != 0 {
			t.Fatalf("%d and %d arrived", a.box.total(), b.box.total())
		}
		time.Sleep(25 * time.Second)
		if p := a.e.Stats().Peers[b.h.ID()]; len(p.Mesh) == 0 {
			t.Fatalf("never grafted: %+v", p)
		}
		wantOnce(t, []*node{b}, "said while the mesh forms")
		if s := a.tx(); s.Announced != 1 {
			t.Errorf("%d announced", s.Announced)
		}
	})
}

// A peer that grafts and prunes itself again and again is told of each message
// once.
func TestHostileRegrafts(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n, other := w.node(nil), w.node(nil)
		w.connect(n.h, other.h)
		settle()
		r := w.raw(n)
		prune := func() {
			r.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: new(reachTopic), Backoff: new(uint64(1))}}})
		}
		prune()
		time.Sleep(1500 * time.Millisecond)
		other.publish(t, "x")
		time.Sleep(100 * time.Millisecond)
		for range 3 {
			r.graft(reachTopic)
			time.Sleep(100 * time.Millisecond)
			if len(n.e.Stats().Peers[r.h.ID()].Mesh) != 1 {
				t.Fatal("not in the mesh")
			}
			prune()
			time.Sleep(1500 * time.Millisecond)
		}
		if got := n.tx().Announced; got != 1 {
			t.Errorf("told %d times", got)
		}
	})
}
