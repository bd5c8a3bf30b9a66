package gossip

import (
	"sync"
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The signed records of a prune are handed on, of a peer with a good score.
func TestRecommendedPeersAreHandedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var got []string
		score := 0.0
		n := w.node(func(c *Config, _ *declared) {
			c.AppScore = func(peer.ID) float64 {
				mu.Lock()
				defer mu.Unlock()
				return score
			}
			c.Recommended = func(from peer.ID, records [][]byte) {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range records {
					got = append(got, string(r))
				}
				panic("in the program")
			}
		})
		prune := func(r *rawPeer, record string) {
			r.graft(reachTopic)
			settle()
			r.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: new(reachTopic), Peers: []*pb.PeerInfo{
				{PeerID: []byte("an ID alone")}, {PeerID: []byte("x"), SignedPeerRecord: []byte(record)},
			}}}})
			settle()
		}
		prune(w.raw(n), "of a newcomer")
		mu.Lock()
		score = 20
		mu.Unlock()
		prune(w.raw(n), "of a good one")
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 1 || got[0] != "of a good one" {
			t.Errorf("%q", got)
		}
	})
}
