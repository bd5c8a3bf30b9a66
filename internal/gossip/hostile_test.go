package gossip

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// Row 34: a replay is a duplicate for SeenTTL, and then the memory of it is free.
func TestHostileReplay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		for range 100 {
			r.say("again")
		}
		settle()
		if c := n.box.count("again"); c != 1 {
			t.Errorf("%d times", c)
		}
		if s := n.tx(); s.Duplicates != 99 {
			t.Errorf("%+v", s)
		}
		time.Sleep(DefaultSeenTTL + 2*time.Minute)
		r.say("again")
		settle()
		if c := n.box.count("again"); c != 2 {
			t.Errorf("%d times: its ID was kept for longer than promised", c)
		}
	})
}

// Row 34: a replay after a restart. What the attacker forgets does not matter; a
// node that has itself restarted takes each message once more, unless its
// validator knows better.
func TestHostileReplayAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		w.raw(n).say("again")
		settle()
		w.raw(n).say("again")
		settle()
		if c, s := n.box.count("again"), n.tx(); c != 1 || s.Duplicates != 1 {
			t.Errorf("%d times: %+v", c, s)
		}
		old := func(_ context.Context, m Message) Verdict {
			if string(m.Data) == "old block" {
				return Ignore()
			}
			return Accept()
		}
		again := w.restart(n, Config{}, old)
		r := w.raw(again)
		for range 100 {
			r.say("again")
			r.say("old block")
		}
		settle()
		if c := again.box.total(); c != 1 {
			t.Errorf("%d delivered", c)
		}
		if s := again.tx(); s.Ignored != 1 || s.Duplicates != 198 {
			t.Errorf("%+v", s)
		}
	})
}

// Row 35: invalid messages are not forwarded, their sender is given up for their score, and
// the honest peer behind whom it sits is not.
func TestHostileInvalidFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(3, func(_ *Config, tx *declared) {
			tx.validate = func(_ context.Context, m Message) Verdict {
				if strings.HasPrefix(string(m.Data), "bad") {
					return Reject()
				}
				return Accept()
			}
		})
		w.connect(ns[0].h, ns[1].h)
		w.connect(ns[1].h, ns[2].h)
		r := w.raw(ns[1])
		for i := range 50 {
			r.say(fmt.Sprint("bad ", i))
		}
		settle()
		if ns[0].box.total()+ns[2].box.total() != 0 {
			t.Error("invalid messages were forwarded")
		}
		if s := r.score(ns[1]); s > SmallNetwork().GraylistThreshold {
			t.Errorf("the sender's score is %v", s)
		}
		r.say("good, but nobody listens")
		settle()
		if ns[1].box.total() != 0 {
			t.Error("a graylisted peer was heard")
		}
		ns[0].publish(t, "fine")
		settle()
		wantOnce(t, ns[1:], "fine")
		for _, n := range []*node{ns[0], ns[2]} {
			if s := n.e.Stats().Peers[ns[1].h.ID()].Score; s < 0 {
				t.Errorf("the honest peer's score is %v", s)
			}
		}
	})
}

func ids(from, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%020d", from+i)
	}
	return out
}

// Row 36: announcements.
func TestHostileHaveFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		r.drain()
		for i := range 40 {
			r.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new(reachTopic), MessageIDs: ids(i*2000, 2000)}}})
		}
		time.Sleep(500 * time.Millisecond)
		asked := 0
		for _, rpc := range r.drain() {
			for _, want := range rpc.GetControl().GetIwant() {
				asked += len(want.GetMessageIDs())
			}
		}
		if asked == 0 || asked > 2*5000 { // the flood may fall into two heartbeats
			t.Errorf("asked for %d messages", asked)
		}
		for i := range testkit.RaceOr(20, 60) {
			r.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new(reachTopic), MessageIDs: ids(i*20000, 20000)}}})
		}
		settle()
		if s := r.score(n); s >= 0 {
			t.Errorf("a flood of empty promises leaves the score at %v", s)
		}
	})
}

// Row 36: requests.
func TestHostileWantFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		must(t, n.e.Publish(t.Context(), "tx", []byte("wanted")))
		time.Sleep(200 * time.Millisecond)
		r.drain()
		id := ContentID(reachTopic, []byte("wanted"), "", nil)
		for range 100 {
			r.control(&pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: []string{id}}}})
		}
		time.Sleep(500 * time.Millisecond)
		got := 0
		for _, rpc := range r.drain() {
			got += len(rpc.GetPublish())
		}
		if got != 3 {
			t.Errorf("served %d times", got)
		}
		for i := range 20 {
			r.control(&pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: ids(i*5000, 5000)}}})
		}
		settle()
		if s := r.score(n); s > SmallNetwork().GraylistThreshold {
			t.Errorf("a flood of requests leaves the score at %v", s)
		}
	})
}

// Row 36: refusals. They stop what they name and nothing else, and are forgotten.
func TestHostileDontWantFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *declared) { c.Params = SmallNetwork(); c.Params.FloodPublish = false })
		r := w.raw(n)
		r.graft(reachTopic)
		time.Sleep(200 * time.Millisecond)
		heap := heapNow()
		for i := range testkit.RaceOr(5000, 20_000) {
			r.control(&pb.ControlMessage{Idontwant: []*pb.ControlIDontWant{{MessageIDs: ids(i*10, 10)}}})
		}
		time.Sleep(500 * time.Millisecond)
		if grown := heapNow() - heap; grown > 4<<20 {
			t.Errorf("%d bytes kept", grown)
		}
		r.drain()
		must(t, n.e.Publish(t.Context(), "tx", []byte("still sent")))
		settle()
		got := 0
		for _, rpc := range r.drain() {
			got += len(rpc.GetPublish())
		}
		if got != 1 {
			t.Errorf("sent %d times", got)
		}
	})
}

func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Row 37: grafts.
func TestHostileGraftFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		r.drain()
		for i := range 100 {
			r.graft(fmt.Sprint("unknown ", i))
		}
		settle()
		for _, rpc := range r.drain() {
			if len(rpc.GetControl().GetPrune()) > 0 {
				t.Fatal("a graft for an unknown topic is answered")
			}
		}
		r.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: new(reachTopic)}}})
		settle()
		if s := r.score(n); s < 0 {
			t.Fatalf("score %v before the flood", s)
		}
		for range 20 {
			r.graft(reachTopic)
			time.Sleep(100 * time.Millisecond)
		}
		settle()
		prunes := 0
		for _, rpc := range r.drain() {
			prunes += len(rpc.GetControl().GetPrune())
		}
		if s := r.score(n); s > SmallNetwork().GraylistThreshold || prunes == 0 || prunes > 15 {
			t.Errorf("score %v, %d prunes", s, prunes)
		}
		if m := n.tx().Mesh; m != 0 {
			t.Errorf("mesh of %d", m)
		}
	})
}

// Row 37: a back-off of 2^64-1 seconds is cut to MaxBackoff.
func TestHostileBackoff(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *declared) {
			c.Params = SmallNetwork()
			c.Params.PruneBackoff, c.Params.MaxBackoff = 10*time.Second, 20*time.Second
		})
		r := w.raw(n)
		if n.tx().Mesh != 1 {
			t.Fatal("no mesh")
		}
		r.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: new(reachTopic), Backoff: proto.Uint64(math.MaxUint64)}}})
		time.Sleep(18 * time.Second)
		if m := n.tx().Mesh; m != 0 {
			t.Errorf("grafted again during the back-off: %d", m)
		}
		time.Sleep(25 * time.Second)
		if m := n.tx().Mesh; m != 1 {
			t.Error("not grafted again after the longest back-off")
		}
	})
}

// Row 38: subscriptions to a million topics.
func TestHostileSubscriptionFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		heap := heapNow()
		for i := range testkit.RaceOr(25, 250) {
			rpc := &pb.RPC{}
			for k := range 4000 {
				rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{
					Subscribe: new(true), Topicid: new(fmt.Sprint("topic ", i, k)),
				})
			}
			r.send(rpc)
		}
		settle()
		if grown := heapNow() - heap; grown > 8<<20 {
			t.Errorf("%d bytes kept", grown)
		}
		for range 5 {
			rpc := &pb.RPC{}
			for k := range router.MaxSubs + 1 {
				rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{
					Subscribe: new(true), Topicid: new(fmt.Sprint(k)),
				})
			}
			r.send(rpc)
			settle() // its stream is reset
			r.open(n)
		}
		settle()
		if s := r.score(n); s > SmallNetwork().GraylistThreshold {
			t.Errorf("score %v", s)
		}
	})
}

// A frame above the limit ends the stream and nothing else.
func TestHostileOversizeFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, nil)
		w.connect(ns[0].h, ns[1].h)
		r := w.raw(ns[0])
		_, _ = r.out.Write(binary.AppendUvarint(nil, math.MaxUint64>>1))
		settle()
		ns[1].publish(t, "still here")
		settle()
		wantOnce(t, ns[:1], "still here")
	})
}

// A peer that does not read is waited for a while, though others do, and cut off when
// its queue is too large. It hears what is said after.
func TestSlowPeerIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, func(c *Config, _ *declared) { c.PeerQueueBytes = 4 << 20 })
		n, other := ns[0], ns[1]
		w.connect(n.h, other.h)
		r := &rawPeer{t: t, h: w.host()}
		stop := make(chan struct{})
		var first atomic.Bool
		r.h.SetStreamHandler(pubsub.GossipSubID_v12, func(s network.Stream) {
			if first.Swap(true) {
				r.read(s)
				return
			}
			<-stop
			_ = s.Reset()
		})
		w.connect(r.h, n.h)
		r.open(n)
		settle()
		began := time.Now()
		const messages = 40
		for i := range messages {
			n.publish(t, payload(i, 200<<10))
		}
		// Longer would be a peer that can stop a network.
		if took := time.Since(began); took < 5*time.Second || took > 15*time.Second {
			t.Errorf("publishing took %v", took)
		}
		settle()
		for i := range messages {
			wantOnce(t, ns[1:], payload(i, 200<<10))
		}
		s := n.e.Stats()
		if w := s.Peers[peer.ID(r.h.ID())].Waiting; w > 5<<20 {
			t.Errorf("%d bytes wait", w)
		}
		if s.Types["tx"].Held == 0 || s.Types["tx"].Dropped == 0 || s.Peers[other.h.ID()].Slow != 0 {
			t.Errorf("%+v", s)
		}
		if n.e.cfg.Obs.Counter("neb.net.gossip.slow").Count() < 2 {
			t.Error("not given up, or not cut off")
		}
		r.drain()
		n.publish(t, "and now")
		settle()
		heard := false
		for _, rpc := range r.drain() {
			for _, m := range rpc.GetPublish() {
				heard = heard || string(m.GetData()) == "and now"
			}
		}
		if !heard {
			t.Error("not spoken to any more")
		}
		close(stop)
	})
}
