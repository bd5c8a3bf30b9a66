package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Reach records which node of a network got which broadcast when. Its methods
// may be called from any goroutine.
type Reach struct {
	mu       sync.Mutex // guards the fields below
	sent     []time.Time
	from     []int
	took     [][]time.Duration // by message and node; 0 is never
	repeats  int
	unstable []bool // by node: crashed at some time
}

// NewReach makes a record for so many nodes and messages.
func NewReach(nodes, messages int) *Reach {
	r := &Reach{
		sent:     make([]time.Time, messages),
		from:     make([]int, messages),
		took:     make([][]time.Duration, messages),
		unstable: make([]bool, nodes),
	}
	for i := range r.took {
		r.took[i] = make([]time.Duration, nodes)
	}
	return r
}

// Messages is how many the record is made for.
func (r *Reach) Messages() int { return len(r.sent) }

// Crashes notes that a node will not be up all the time: it is not counted.
func (r *Reach) Crashes(node int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unstable[node] = true
}

// Stable tells whether the node is counted.
func (r *Reach) Stable(node int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.unstable[node]
}

// Say notes that a node sends message i now, and returns its payload.
func (r *Reach) Say(i, node, size int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[i], r.from[i] = time.Now(), node
	r.took[i][node] = time.Nanosecond
	return binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))[:size]
}

// Got notes that a payload has arrived at a node.
func (r *Reach) Got(node int, payload []byte) {
	at := time.Now()
	i := binary.BigEndian.Uint32(payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.took[i][node] != 0 {
		if !r.unstable[node] {
			r.repeats++
		}
		return
	}
	r.took[i][node] = max(at.Sub(r.sent[i]), time.Nanosecond)
}

// Missing returns the nodes that are counted and never got message i.
func (r *Reach) Missing(i int) (nodes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, d := range r.took[i] {
		if d == 0 && !r.unstable[node] {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// Until returns how long it took until a share of the nodes had a message, from 0 to 1
// of those that are counted, its author apart: the median of the messages that reached
// so many.
func (r *Reach) Until(share float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var times []time.Duration
	for i, nodes := range r.took {
		var got []time.Duration
		counted := 0
		for node, d := range nodes {
			if r.unstable[node] || node == r.from[i] {
				continue
			}
			counted++
			if d != 0 {
				got = append(got, d)
			}
		}
		slices.Sort(got)
		if n := int(math.Ceil(share * float64(counted))); n > 0 && n <= len(got) {
			times = append(times, got[n-1])
		}
	}
	return quantile(times, 0.5)
}

// Sent returns when message i was sent.
func (r *Reach) Sent(i int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[i]
}

// ReachResult sums a run up.
type ReachResult struct {
	Lost, Delivered, Repeated int
	P50, P99                  time.Duration // of the time to all nodes
	Each99                    time.Duration // of the time to a node
	Duplicates                float64       // copies per node and message
	CPU                       float64       // microseconds per delivery
	Alloc                     float64       // KiB per delivery
	Wire                      float64       // bytes on the wire for each byte of payload; 0 if it was not measured
}

func (r ReachResult) String() string {
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	text := fmt.Sprintf("lost %d of %d; to all nodes p50 %v p99 %v, to a node p99 %v; %.2f duplicates; %.0f us, %.1f KiB a delivery",
		r.Lost, r.Lost+r.Delivered, ms(r.P50), ms(r.P99), ms(r.Each99), r.Duplicates, r.CPU, r.Alloc)
	if r.Wire > 0 {
		text += fmt.Sprintf("; %.2f bytes on the wire for each of payload", r.Wire)
	}
	return text
}

// Count sums up what came to the nodes that stayed up.
func (r *Reach) Count() (sum ReachResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all, each []time.Duration
	for i, nodes := range r.took {
		var last time.Duration
		for node, d := range nodes {
			switch {
			case r.unstable[node] || node == r.from[i]:
			case d == 0:
				sum.Lost++
			default:
				sum.Delivered++
				last = max(last, d)
				each = append(each, d)
			}
		}
		all = append(all, last)
	}
	sum.Repeated = r.repeats
	sum.P50, sum.P99, sum.Each99 = quantile(all, 0.5), quantile(all, 0.99), quantile(each, 0.99)
	return sum
}

func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}

// Medians of the fields that runs are compared by.
func Medians(rs []ReachResult) (m ReachResult) {
	if len(rs) == 0 {
		return m
	}
	of := func(field func(ReachResult) float64) float64 {
		v := make([]float64, len(rs))
		for i, r := range rs {
			v[i] = field(r)
		}
		return Median(v)
	}
	m.P50 = time.Duration(of(func(r ReachResult) float64 { return float64(r.P50) }))
	m.P99 = time.Duration(of(func(r ReachResult) float64 { return float64(r.P99) }))
	m.Duplicates = of(func(r ReachResult) float64 { return r.Duplicates })
	m.CPU = of(func(r ReachResult) float64 { return r.CPU })
	m.Wire = of(func(r ReachResult) float64 { return r.Wire })
	return m
}

// Cost is what a stretch of time took of the process.
type Cost struct {
	cpu   time.Duration
	alloc uint64
}

// StartCost begins to measure, after a garbage collection.
func StartCost() Cost {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Cost{cpu: CPU(), alloc: m.TotalAlloc}
}

// Per ends the measurement and shares it among n deliveries: microseconds and
// KiB of each.
func (c Cost) Per(n int) (cpu, alloc float64) {
	took := CPU() - c.cpu
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(took.Microseconds()) / float64(n), float64(m.TotalAlloc-c.alloc) / 1024 / float64(n)
}
