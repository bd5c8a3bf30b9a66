package reqresp

import (
	"slices"
	"sync"
	"time"
)

const (
	latencySample = 128 // of the latest answers of a method
	latencyLeast  = 8   // from how many on they say something
)

// latencies remembers how long the latest answers of a method took, of whatever
// peer.
type latencies struct {
	mu   sync.Mutex // guards what follows
	took []time.Duration
	at   int
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) < latencySample {
		l.took = append(l.took, d)
		return
	}
	l.took[l.at] = d
	l.at = (l.at + 1) % latencySample
}

// p95 is what 95 of 100 answers did not exceed; 0 while too few are known.
func (l *latencies) p95() time.Duration {
	l.mu.Lock()
	sorted := slices.Clone(l.took)
	l.mu.Unlock()
	if len(sorted) < latencyLeast {
		return 0
	}
	slices.Sort(sorted)
	return sorted[(len(sorted)*95-1)/100]
}
