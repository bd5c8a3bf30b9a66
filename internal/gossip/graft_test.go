package gossip

import (
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// slowly has so long a heartbeat that a test can act between two of them.
func slowly(c *Config, _ *Topic) {
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
// once, and once in a heartbeat at most.
func TestGraftsAreToldOnce(t *testing.T) {
	at := time.Now()
	yes := func(peer.ID) bool { return true }
	g := newGrafts()
	due := func(d time.Duration, ready func(peer.ID) bool) map[string]time.Time {
		return g.due(at.Add(d), at.Add(d-4*time.Second), time.Second, ready)["p"]
	}
	g.add("p", "a")
	if len(due(0, func(peer.ID) bool { return false })) != 0 {
		t.Error("told though it cannot be sent to")
	}
	if got := due(0, yes); len(got) != 1 || !got["a"].Equal(at.Add(-4*time.Second)) {
		t.Errorf("told of %v", got)
	}
	g.remove("p", "a")
	g.add("p", "a")
	g.add("p", "b")
	if got := due(time.Second-1, yes); len(got) != 0 {
		t.Errorf("told of %v within a heartbeat", got)
	}
	if got := due(time.Second, yes); len(got) != 2 || !got["a"].Equal(at) || !got["b"].Equal(at.Add(-3*time.Second)) {
		t.Errorf("told of %v", got)
	}
	g.add("p", "b")
	g.remove("p", "b")
	if got := due(10*time.Second, yes); len(got) != 0 {
		t.Errorf("told of %v though it was pruned", got)
	}
	g.add("p", "c")
	if due(10*time.Second, yes); len(g.peers["p"].told) != 1 {
		t.Errorf("what is too old is kept: %v", g.peers["p"].told)
	}
	if g.forget("p"); len(g.peers) != 0 {
		t.Error("kept though it is gone")
	}
}

// The same with a peer that does so.
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
