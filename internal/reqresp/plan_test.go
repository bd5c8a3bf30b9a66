package reqresp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestPlan(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPlan(10, 30, 8, 2)
	take := func(id string, want string) Span {
		t.Helper()
		s, ok, _ := p.Take(peer.ID(id), now)
		if got := fmt.Sprint(s.From, s.To, ok); got != want {
			t.Errorf("%s takes %s, want %s", id, got, want)
		}
		return s
	}
	bring := func(id string, part *Part, index uint64, want bool) {
		t.Helper()
		if isNew, _ := p.Bring(peer.ID(id), part, index); isNew != want {
			t.Errorf("%s brings %d: %v", id, index, isNew)
		}
	}
	a := take("A", "10 18 true")
	b := take("B", "18 26 true")
	take("C", "0 0 false") // the window is full, and nobody is slow yet
	bring("A", a.Part, 10, true)
	bring("A", a.Part, 12, false) // not the next one
	for i := b.From; i < b.To; i++ {
		bring("B", b.Part, i, true)
	}
	p.Finish("B", b.Part, 8, 80*time.Millisecond, false, now)
	now = now.Add(time.Second) // A brought one item in that time: B takes over
	take("B", "11 18 true")
	take("C", "0 0 false") // B had no time yet
	bring("B", a.Part, 11, true)
	bring("A", a.Part, 11, false) // too late
	// B fails: it is left alone for a while, and C takes over.
	p.Finish("B", a.Part, 1, time.Second, true, now)
	_, ok, again := p.Take("B", now)
	if ok || !again.After(now) {
		t.Error("a peer that failed is asked at once")
	}
	c := take("C", "12 18 true")
	p.Remove("A")
	for i := uint64(12); i < 18; i++ {
		bring("C", c.Part, i, true)
	}
	p.Finish("C", c.Part, 6, time.Millisecond, false, now)
	// In order; the window moves on.
	for p.Next() < 18 {
		if _, ok := p.Ready(); !ok {
			t.Fatal(p.Next(), "is not ready")
		}
		p.HandOver()
	}
	take("C", "26 30 true")
	if to := p.Rewind(); to != 26 || p.Next() != 18 {
		t.Error("rewind", to, p.Next())
	}
	if _, ok := p.Ready(); ok {
		t.Error("what was taken back is ready")
	}
	now = now.Add(time.Minute)
	take("B", "18 26 true")
}

// A part whose holder died is taken over, also when the one that took over died
// too: nobody waits for a deadline.
func TestPlanOutlivesTwo(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPlan(0, 8, 8, 1)
	for _, id := range []peer.ID{"A", "B", "C"} {
		s, ok, _ := p.Take(id, now)
		if !ok || s.From != 0 || s.To != 8 {
			t.Fatalf("%s gets %v %v", id, s, ok)
		}
		if _, ok, _ := p.Take("D", now); ok {
			t.Fatalf("%s is given no time", id)
		}
		now = now.Add(time.Second)
		if _, ok, _ := p.Take(id, now); ok {
			t.Fatalf("%s takes over from itself", id)
		}
	}
}

// Who takes over from a slow peer goes on when that one is the first with an item:
// it still brings the rest in less time.
func TestPlanTakerGoesOn(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPlan(0, 8, 8, 1)
	slow, _, _ := p.Take("slow", now)
	now = now.Add(time.Second)
	fast, ok, _ := p.Take("fast", now)
	if !ok {
		t.Fatal("nobody takes over")
	}
	bring := func(id peer.ID, part *Part, index uint64, wantNew, wantMore bool) {
		t.Helper()
		if isNew, more := p.Bring(id, part, index); isNew != wantNew || more != wantMore {
			t.Errorf("%s brings %d: new %v, more %v", id, index, isNew, more)
		}
	}
	bring("slow", slow.Part, 0, true, true)
	bring("fast", fast.Part, 0, false, true)
	bring("fast", fast.Part, 1, true, true)
	bring("slow", slow.Part, 1, false, false)
}

// Peers that are slow, that fail and that are removed bring a whole range together,
// each item once, in order, within the window.
func TestPlanAtRandom(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const from, end, chunk, window = 7, 400, 9, 5
		p := NewPlan(from, end, chunk, window)
		now := time.Unix(0, 0)
		type job struct {
			id    peer.ID
			span  Span
			index uint64
			began time.Time
		}
		var jobs []*job
		have := map[uint64]bool{}
		for step := 0; !p.Done(); step++ {
			if step > 200_000 {
				t.Fatalf("seed %d stands still at %d", seed, p.Next())
			}
			now = now.Add(time.Millisecond)
			id := peer.ID('A' + byte(rng.IntN(5)))
			if busy := slices.ContainsFunc(jobs, func(j *job) bool { return j.id == id }); !busy {
				if s, ok, _ := p.Take(id, now); ok {
					jobs = append(jobs, &job{id, s, s.From, now})
				}
			}
			if len(jobs) > 0 {
				i := rng.IntN(len(jobs))
				j := jobs[i]
				if j.id == "A" && rng.IntN(50) > 0 {
					continue // slow
				}
				ends, failed := false, false
				switch n := rng.IntN(100); {
				case n == 0:
					ends, failed = true, true
				case n == 1 && j.id == "B":
					p.Remove(j.id)
					jobs = slices.Delete(jobs, i, i+1)
					continue
				default:
					isNew, more := p.Bring(j.id, j.span.Part, j.index)
					if isNew && have[j.index] {
						t.Fatal(seed, j.index, "came twice")
					}
					if isNew {
						have[j.index] = true
					}
					j.index++
					ends = !more || j.index == j.span.To
				}
				if ends {
					p.Finish(j.id, j.span.Part, j.index-j.span.From, now.Sub(j.began), failed, now)
					jobs = slices.Delete(jobs, i, i+1)
				}
			}
			for _, ok := p.Ready(); ok && rng.IntN(2) == 0; _, ok = p.Ready() {
				if !have[p.Next()] {
					t.Fatal(seed, p.Next(), "was handed over before it came")
				}
				p.HandOver()
			}
			if waiting := len(have) - int(p.Next()-from); waiting > chunk*window {
				t.Fatal(seed, waiting, "items wait")
			}
		}
		if len(have) != end-from {
			t.Error(seed, len(have), "items")
		}
	}
}

func TestRank(t *testing.T) {
	now := time.Unix(1000, 0)
	known := map[peer.ID]experience{
		"fast":    {latency: 10 * time.Millisecond},
		"slow":    {latency: 400 * time.Millisecond},
		"loaded":  {latency: 10 * time.Millisecond, underWay: 5},
		"failing": {latency: 10 * time.Millisecond, failures: 10, at: now},
		"failed":  {latency: 10 * time.Millisecond, failures: 10, at: now.Add(-10 * time.Minute)},
		"busy":    {latency: time.Millisecond, busyUntil: now.Add(time.Second)},
		"was":     {latency: 12 * time.Millisecond, busyUntil: now.Add(-time.Second)},
	}
	var cs []Candidate
	for p := range known {
		cs = append(cs, Candidate{Peer: p})
	}
	cs = append(cs, Candidate{"near", 8 * time.Millisecond}, Candidate{"new", 0})
	got := rank(cs, func(p peer.ID) experience { return known[p] }, now, func() float64 { return 0 })
	want := []peer.ID{"fast", "failed", "was", "near", "loaded", "new", "slow", "failing", "busy"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Those alike take turns.
	first := map[peer.ID]bool{}
	for range 50 {
		first[rank([]Candidate{{"x", 1}, {"y", 1}}, func(peer.ID) experience { return experience{} }, now, rand.Float64)[0]] = true
	}
	if len(first) != 2 {
		t.Error("one of two that are alike is always the first")
	}
}

func TestExperience(t *testing.T) {
	now := time.Unix(1000, 0)
	var x experience
	x.failed(now)
	bad := x.expected(0, now)
	if later := x.expected(0, now.Add(10*failureHalf)); bad < 4*later {
		t.Error("a failure weighs", bad, "and ten half-lives later", later)
	}
	x.answered(time.Second, now)
	x.answered(3*time.Second, now)
	if x.latency != 1500*time.Millisecond || x.failing(now) > 0.3 {
		t.Errorf("%+v", x)
	}
	x.busy(0, now)
	if !x.busyUntil.After(now) {
		t.Error("a busy peer is asked again at once")
	}
}
