package discovery

import (
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/peer"
)

// sample returns the records of at most n random peers of ids, none of them
// except and each once. record gives nil for a peer that has none; it is asked
// of no more peers than needed. ids is left in another order.
func sample(rng *rand.Rand, ids []peer.ID, except peer.ID, n int, record func(peer.ID) []byte) [][]byte {
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	seen := make(map[peer.ID]bool, n)
	var out [][]byte
	for _, p := range ids {
		if len(out) == n {
			break
		}
		if p == except || seen[p] {
			continue
		}
		seen[p] = true
		if r := record(p); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// asking returns how many records to ask for when want peers are looked for
// and known ones are likely to be among the answer.
func asking(want, known int) int {
	if want <= 0 {
		return 0
	}
	return min(want, MaxRecords) + min(known, MaxRecords-min(want, MaxRecords))
}
