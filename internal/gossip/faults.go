package gossip

import (
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	faultWeight = -20 // score per fault
	faultHalf   = 2 * time.Minute
	maxFaulty   = 4096
)

// faults remembers which peers sent what no honest peer sends. What a peer has
// on its account halves every two minutes, connected or not.
type faults struct {
	mu sync.Mutex // guards m
	m  map[peer.ID]account
}

type account struct {
	n  float64
	at time.Time
}

func (a account) now(t time.Time) float64 {
	return a.n * math.Exp2(-float64(t.Sub(a.at))/float64(faultHalf))
}

func (f *faults) add(p peer.ID, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.m[p]
	if !ok && len(f.m) >= maxFaulty {
		for q := range f.m {
			delete(f.m, q)
			break
		}
	}
	f.m[p] = account{a.now(t) + 1, t}
}

// score is what the peer's account takes off its score.
func (f *faults) score(p peer.ID, t time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.m[p]
	if !ok {
		return 0
	}
	return faultWeight * a.now(t)
}

// expire forgets accounts that are as good as empty.
func (f *faults) expire(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, a := range f.m {
		if a.now(t) < 0.01 {
			delete(f.m, p)
		}
	}
}
