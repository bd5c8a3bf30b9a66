package obs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rcrowley/go-metrics"
)

func TestHistogramBuckets(t *testing.T) {
	o := New(nil, nil)
	h := o.Histogram("x")
	for _, v := range []int64{-5, 0, 10, 11, 1000, 59e6, 61e6} {
		h.Update(v)
	}
	b, ok := o.Registry().Get("x").(Buckets)
	if !ok {
		t.Fatalf("the registry has a %T", o.Registry().Get("x"))
	}
	edges, atMost, count, sum := b.Buckets()
	if len(edges) != len(atMost) || count != 7 || sum != -5+0+10+11+1000+59e6+61e6 {
		t.Errorf("%d edges, %d buckets, %d values, sum %d", len(edges), len(atMost), count, sum)
	}
	want := map[int64]uint64{10: 3, 25: 4, 500: 4, 1000: 5, 30e6: 5, 60e6: 6}
	got := map[int64]uint64{}
	for i, e := range edges {
		if _, asked := want[e]; asked {
			got[e] = atMost[i]
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if b.Count() != 7 || b.Max() != 61e6 {
		t.Errorf("as a sample: %d values, at most %d", b.Count(), b.Max())
	}
	b.Clear()
	if _, _, count, sum := b.Buckets(); count != 0 || sum != 0 || b.Count() != 0 {
		t.Error("Clear left something")
	}
}

// A metric of another kind under the name is left alone.
func TestHistogramNameTaken(t *testing.T) {
	reg := metrics.NewRegistry()
	_ = reg.Register("x", metrics.NewCounter())
	New(nil, reg).Histogram("x").Update(1)
	if _, ok := reg.Get("x").(metrics.Counter); !ok {
		t.Error("the metric was replaced")
	}
}

func BenchmarkHistogramUpdate(b *testing.B) {
	h := newBucketed()
	for i := 0; b.Loop(); i++ {
		h.Update(int64(i))
	}
}
