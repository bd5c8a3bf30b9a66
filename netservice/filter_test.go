package netservice

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

func somePeers(n int) []PeerInfo {
	out := make([]PeerInfo, n)
	for i := range out {
		out[i] = PeerInfo{ID: peer.ID(fmt.Sprint(i)), Reserved: i%2 == 0}
	}
	return out
}

func TestPeerFilters(t *testing.T) {
	for _, tc := range []struct {
		name     string
		filter   PeerFilter
		of, want int
	}{
		{"all", AllPeers(), 9, 9},
		{"random", RandomPeers(3), 9, 3},
		{"random of too few", RandomPeers(12), 9, 9},
		{"random none", RandomPeers(0), 9, 0},
		{"random negative", RandomPeers(-1), 9, 0},
		{"root", SquareRootPeers(), 9, 3},
		{"root rounded up", SquareRootPeers(), 10, 4},
		{"root of none", SquareRootPeers(), 0, 0},
		{"where", PeersWhere(func(p PeerInfo) bool { return p.Reserved }), 9, 5},
	} {
		got := tc.filter(somePeers(tc.of))
		seen := map[peer.ID]bool{}
		for _, p := range got {
			seen[p.ID] = true
		}
		if len(got) != tc.want || len(seen) != tc.want {
			t.Errorf("%s: chose %d, %d different, want %d", tc.name, len(got), len(seen), tc.want)
		}
	}
}

// Every peer is chosen about equally often.
func TestRandomPeersIsFair(t *testing.T) {
	const rounds = 3000
	count := map[peer.ID]int{}
	for range rounds {
		for _, p := range RandomPeers(2)(somePeers(6)) {
			count[p.ID]++
		}
	}
	for id, n := range count {
		if n < rounds/3-200 || n > rounds/3+200 { // 6 standard deviations
			t.Errorf("peer %s was chosen %d times, want about %d", id, n, rounds/3)
		}
	}
}
