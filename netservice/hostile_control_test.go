package netservice_test

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// Rows 36 and 37: what the caps on gossip control let through, and the next more. One
// more is counted as a fault of that name, and costs the peer its score; as many as are
// allowed do not.
func TestHostileGossipControlCaps(t *testing.T) {
	ids := func(n int) *pb.RPC {
		have := &pb.ControlIHave{TopicID: new("/nobody/takes/this")}
		for range n { // short: all of it fits into the window of the stream at once
			have.MessageIDs = append(have.MessageIDs, "x")
		}
		return &pb.RPC{Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{have}}}
	}
	grafts := func(n int) *pb.RPC {
		c := &pb.ControlMessage{}
		for i := range n {
			c.Graft = append(c.Graft, &pb.ControlGraft{TopicID: new(fmt.Sprint("/nobody/takes/this/", i))})
		}
		return &pb.RPC{Control: c}
	}
	prunes := func(n int) *pb.RPC {
		c := &pb.ControlMessage{}
		for i := range n {
			c.Prune = append(c.Prune, &pb.ControlPrune{TopicID: new(fmt.Sprint("/nobody/takes/this/", i))})
		}
		return &pb.RPC{Control: c}
	}
	for name, tc := range map[string]struct {
		fault string
		max   int
		frame func(n int) *pb.RPC
		parts int // frames that it goes in
	}{
		"message IDs announced in a heartbeat": {"have", 40_000, ids, 8},
		"grafts in a frame":                    {"control", 1000, grafts, 1},
		"prunes in a frame":                    {"control", 1000, prunes, 1},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				g := s.gossiper(meshsub)
				meshed()
				send := func(n int) {
					// In one instant, so that no heartbeat comes between.
					for i := range tc.parts {
						part := n / tc.parts
						if i == 0 {
							part += n % tc.parts
						}
						g.send(tc.frame(part))
					}
					time.Sleep(3 * time.Second)
				}
				faults := func() int64 { return s.count("neb.net.gossip.faults." + tc.fault) }
				before := g.score()
				send(tc.max)
				if n := faults(); n != 0 || g.score() < before {
					t.Fatalf("%d faults, score %v, with what is allowed", n, g.score())
				}
				send(tc.max + 1)
				if n := faults(); n != 1 {
					t.Errorf("%d faults", n)
				}
				if v := g.score(); v >= before {
					t.Errorf("a score of %v, %v before", v, before)
				}
			})
		})
	}
}
