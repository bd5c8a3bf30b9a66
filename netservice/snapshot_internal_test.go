package netservice

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/gossip"
)

// What gossip says of a peer reaches the page, each part of the score by its name.
func TestScorePartsAreShown(t *testing.T) {
	st := gossipStats(gossip.Stats{Peers: map[peer.ID]gossip.PeerStats{"p": {
		Score: 21, Parts: gossip.ScoreParts{Topics: 1, App: 2, Colocation: 3, Behaviour: 4, Faults: 5, Ignored: 6},
	}}})
	p := peerShown(PeerInfo{ID: "p", Addr: multiaddr.StringCast("/ip4/192.0.2.1/tcp/1")}, Stats{Gossip: st})
	want := map[string]float64{"types": 1, "program": 2, "address": 3, "behaviour": 4, "faults": 5, "ignored": 6}
	sum := 0.0
	for _, part := range p.ScoreParts {
		if part.Value != want[part.Name] {
			t.Errorf("%s is %v, want %v", part.Name, part.Value, want[part.Name])
		}
		sum += part.Value
	}
	if len(p.ScoreParts) != len(want) || sum != p.Score {
		t.Errorf("%d parts add up to %v, the score is %v", len(p.ScoreParts), sum, p.Score)
	}
}

func TestDiffersInWords(t *testing.T) {
	for want, d := range map[string]TypeDifference{
		"tx: at most 1 bytes here, 2 there": {Type: "tx", Ours: TypeOffer{MaxSize: 1}, Theirs: TypeOffer{MaxSize: 2}},
		"tx: broadcast here only":           {Type: "tx", Theirs: TypeOffer{NoBroadcast: true}},
		"tx: broadcast there only, timed here only": {
			Type: "tx", Ours: TypeOffer{NoBroadcast: true, Timed: true},
		},
	} {
		if got := differs(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSubscriberNames(t *testing.T) {
	type secret struct{ Key string }
	for want, id := range map[string]any{"pool": "pool", "7": 7, "netservice.secret": &secret{"x"}} {
		if got := subscriberName(id); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
