package obs

import (
	"sort"
	"sync/atomic"

	"github.com/rcrowley/go-metrics"
)

// bounds are the upper edges of a histogram's buckets, for durations in
// microseconds: from what a function call takes to what a person waits for.
var bounds = [...]int64{
	10, 25, 50, 100, 250, 500,
	1e3, 2.5e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3,
	1e6, 2.5e6, 5e6, 10e6, 30e6, 60e6,
}

// Buckets is a histogram that can be summed up over time and over nodes, which a
// sample cannot. Of a histogram made by Obs.Histogram, the metric in the registry
// is one.
type Buckets interface {
	metrics.Histogram
	// Buckets returns how many values were at most each of the bounds, which
	// ascend, and the number and the sum of all.
	Buckets() (bounds []int64, atMost []uint64, count uint64, sum int64)
}

// bucketed counts in buckets beside the sample that answers for quantiles.
type bucketed struct {
	metrics.Histogram
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func newBucketed() *bucketed {
	return &bucketed{Histogram: metrics.NewHistogram(metrics.NewUniformSample(1028))}
}

// Update notes a value.
func (b *bucketed) Update(v int64) {
	b.Histogram.Update(v)
	i := sort.Search(len(bounds), func(i int) bool { return v <= bounds[i] })
	b.counts[i].Add(1)
	b.sum.Add(v)
}

// Clear forgets everything.
func (b *bucketed) Clear() {
	b.Histogram.Clear()
	for i := range b.counts {
		b.counts[i].Store(0)
	}
	b.sum.Store(0)
}

// Buckets is Buckets.Buckets.
func (b *bucketed) Buckets() (edges []int64, atMost []uint64, count uint64, sum int64) {
	atMost = make([]uint64, len(bounds))
	for i := range b.counts {
		count += b.counts[i].Load()
		if i < len(bounds) {
			atMost[i] = count
		}
	}
	return bounds[:], atMost, count, b.sum.Load()
}
