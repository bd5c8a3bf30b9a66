package gossip

import (
	"encoding/json"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestStatsAsJSON(t *testing.T) {
	id, err := peer.Decode("12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(Stats{Parked: 3, Peers: map[peer.ID]PeerStats{id: {Waiting: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Parked int
		Peers  map[string]PeerStats
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Parked != 3 || got.Peers[id.String()].Waiting != 7 {
		t.Errorf("%s", b)
	}
}
