package netservice

import (
	"math"
	"math/rand/v2"
)

// PeerFilter chooses the peers that a message goes to. It may reorder and
// shorten the slice it gets, which is its own, and must not call the service.
type PeerFilter func(peers []PeerInfo) []PeerInfo

// AllPeers chooses every peer.
func AllPeers() PeerFilter { return func(peers []PeerInfo) []PeerInfo { return peers } }

// RandomPeers chooses n peers at random, or all where there are fewer.
func RandomPeers(n int) PeerFilter {
	return func(peers []PeerInfo) []PeerInfo { return sample(peers, n) }
}

// SquareRootPeers chooses the square root of the number of peers, rounded up,
// at random: enough to spread a large message through a network whose nodes
// all pass it on.
func SquareRootPeers() PeerFilter {
	return func(peers []PeerInfo) []PeerInfo {
		return sample(peers, int(math.Ceil(math.Sqrt(float64(len(peers))))))
	}
}

// PeersWhere chooses the peers for which the predicate holds; nil holds for all.
func PeersWhere(match func(PeerInfo) bool) PeerFilter {
	if match == nil {
		return AllPeers()
	}
	return func(peers []PeerInfo) []PeerInfo {
		chosen := peers[:0]
		for _, p := range peers {
			if match(p) {
				chosen = append(chosen, p)
			}
		}
		return chosen
	}
}

func sample(peers []PeerInfo, n int) []PeerInfo {
	if n >= len(peers) {
		return peers
	}
	n = max(n, 0)
	for i := range n {
		j := i + rand.IntN(len(peers)-i)
		peers[i], peers[j] = peers[j], peers[i]
	}
	return peers[:n]
}
