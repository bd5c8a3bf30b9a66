package sched

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a network, and what must be reached in it, over the time that GossipSub takes
// in the same one without faults.
type row struct {
	name         string
	set          func(*simParams)
	time         float64 // to 95 %, over that of pushing
	wire, source float64
}

var rows = []row{
	{"512 KiB", func(p *simParams) { p.size = 512 << 10 }, 0.32, 1.15, 4.5},
	{"1 MiB", func(*simParams) {}, 0.20, 1.15, 4},
	{"4 MiB", func(p *simParams) { p.size = 4 << 20 }, 0.13, 1.2, 3.5},
	{"512 KiB, 10 % silent", func(p *simParams) { p.size, p.silent = 512<<10, .1 }, 0.75, 1.3, 8},
	{"1 MiB, 10 % silent", func(p *simParams) { p.silent = .1 }, 0.37, 1.3, 6},
	{"4 MiB, 10 % silent", func(p *simParams) { p.size, p.silent = 4<<20, .1 }, 0.24, 1.3, 5},
	{"1 MiB, 10 % silent, known", func(p *simParams) { p.silent, p.messages = .1, 2 }, 0.30, 1.3, 5},
	{"1 MiB, 5 % liars", func(p *simParams) { p.liar = .05 }, 0.37, 1.4, 6},
	{"1 MiB, 20 % slow", func(p *simParams) { p.slow = .2 }, 0.45, 1.3, 5},
	{"1 MiB, all of it", func(p *simParams) { p.silent, p.liar, p.slow = .1, .05, .2 }, 0.55, 1.4, 8},
	{"512 KiB, lines in order", func(p *simParams) { p.size, p.fifo = 512<<10, true }, 0.35, 1.15, 4.5},
	{"1 MiB, lines in order", func(p *simParams) { p.fifo = true }, 0.25, 1.15, 4},
	{"4 MiB, lines in order", func(p *simParams) { p.size, p.fifo = 4<<20, true }, 0.19, 1.2, 3.5},
	{"1 MiB, lines in order, shared", func(p *simParams) { p.fifo, p.shared = true, true }, 0.25, 1.15, 4},
	{"4 MiB, lines in order, shared", func(p *simParams) { p.size, p.fifo, p.shared = 4<<20, true, true }, 0.19, 1.2, 3.5},
	{"1 MiB, hop by hop", func(p *simParams) { p.noHeader = true }, 1.0, 1.15, 12},
}

func play(tb testing.TB, n, seeds int, r row) {
	p := defaults()
	p.n = n
	r.set(&p)
	got := simulate(p, seeds)
	base := defaults()
	base.n, base.size, base.fifo, base.push = n, p.size, p.fifo, true
	push := simulate(base, seeds)
	line := fmt.Sprintf("%-28s t50 %.2f t95 %.2f t100 %.2f s, %.2f of pushing (%.2f s); wire %.2f, source %.2f, busiest %.2f; missed %d",
		r.name, got.t50, got.t95, got.t100, got.t95/push.t95, push.t95, got.wire, got.source, got.most, got.missed)
	tb.Log(line)
	switch {
	case got.missed > 0:
		tb.Errorf("%s: nodes did not get it", r.name)
	case got.t95 > r.time*push.t95:
		tb.Errorf("%s: %.2f of the time of pushing, want %.2f", r.name, got.t95/push.t95, r.time)
	case got.wire > r.wire || got.source > r.source:
		tb.Errorf("%s: want wire %.2f and source %.2f at most", r.name, r.wire, r.source)
	}
}

// TestSimulated plays small networks, every one with the same seed in each run.
func TestSimulated(t *testing.T) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			play(t, 50, 1, r)
		})
	}
}

// BenchmarkSimulated plays large ones:
//
//	go test -run '^$' -bench Simulated -benchtime 1x -v ./internal/swarm/sched
func BenchmarkSimulated(b *testing.B) {
	for _, r := range rows {
		b.Run(r.name, func(b *testing.B) {
			for b.Loop() {
				play(b, 200, 3, r)
			}
		})
	}
}
