package netservice_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// soak is the virtual time of TestSoak, which is skipped without it:
//
//	go test -run TestSoak -timeout 120m ./netservice -v -soak 2h
var soak = flag.Duration("soak", 0, "virtual time of TestSoak")

// soaker is one node of TestSoak.
type soaker struct {
	*nettest.Node
	mu  sync.Mutex // guards got
	got map[string]int
	up  bool
}

func (n *soaker) subscribe(s *netservice.NebService) {
	_, _ = text.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.got[string(m.Value)]++
	})
}

// take returns what has come since the last call.
func (n *soaker) take() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := n.got
	n.got = make(map[string]int)
	return got
}

// Twenty nodes that broadcast all the time, while some crash, are killed, stop and come
// back, and the network falls apart and heals. What is broadcast while a part of the
// network is whole arrives at all of that part, once; memory and goroutines stay.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes minutes: runs with -soak 2h")
	}
	crowd(t)
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		const nodes, each, warm = 20, 5, 10 * time.Minute
		rng := rand.New(rand.NewPCG(1, 2))
		var all []*soaker
		for i := range nodes {
			cfg := chain()
			if i > 0 {
				cfg.Bootstrap = []string{all[0].Addr()}
			}
			n := &soaker{Node: nw.Add(cfg, quiet()), got: make(map[string]int), up: true}
			n.subscribe(n.Service())
			all = append(all, n)
		}
		nw.Start()
		due, lost, twice, events := 0, 0, 0, 0
		said := 0
		// talk has each part broadcast, and looks what of it arrived where.
		talk := func(what string, parts ...[]*soaker) {
			for _, n := range all {
				n.take()
			}
			type word struct {
				by   *soaker
				text string
			}
			of := make([][]word, len(parts))
			for range each {
				for i, part := range parts {
					for _, n := range part {
						said++
						w := word{n, fmt.Sprint("word ", said)}
						if err := text.Broadcast(t.Context(), n.Service(), []byte(w.text)); err != nil {
							t.Errorf("%s: broadcast: %v", what, err)
							continue
						}
						of[i] = append(of[i], w)
					}
				}
				time.Sleep(300 * time.Millisecond)
			}
			time.Sleep(10 * time.Second)
			for i, part := range parts {
				for _, n := range part {
					got := n.take()
					missing := 0
					for _, w := range of[i] {
						if w.by == n {
							continue // its own do not come back to it
						}
						due++
						switch got[w.text] {
						case 0:
							missing++
						case 1:
						default:
							twice++
						}
					}
					if missing > 0 {
						lost += missing
						t.Errorf("%s: %s did not get %d", what, n.IP(), missing)
					}
				}
			}
		}
		running := func() (up []*soaker) {
			for _, n := range all {
				if n.up {
					up = append(up, n)
				}
			}
			return up
		}
		recover := func() { time.Sleep(35 * time.Second) } // a lost peer is dialled again within 30 s
		var firstHeap, lastHeap int64
		var firstGo, lastGo int
		began := time.Now()
		recover()
		for time.Since(began) < *soak {
			talk("whole", running())
			events++
			switch rng.IntN(3) {
			case 0: // some go, and come back
				var gone []*soaker
				for range 1 + rng.IntN(4) {
					n := all[1+rng.IntN(nodes-1)]
					if !n.up {
						continue
					}
					n.up = false
					gone = append(gone, n)
					switch rng.IntN(3) {
					case 0:
						n.Crash()
					case 1:
						n.Kill()
					default:
						n.Stop()
					}
				}
				recover()
				talk("some are gone", running())
				for _, n := range gone {
					n.Restart(func(s *netservice.NebService) { n.subscribe(s) })
					n.up = true
				}
			case 1: // the network falls apart
				cut := 5 + rng.IntN(nodes-9)
				order := rng.Perm(nodes)
				var a, b []*soaker
				var an []*nettest.Node
				for i, k := range order {
					if i < cut {
						a, an = append(a, all[k]), append(an, all[k].Node)
					} else {
						b = append(b, all[k])
					}
				}
				nw.Partition(an)
				recover()
				talk("parted", a, b)
				nw.Heal()
			default: // connections break
				for range 10 {
					a, b := rng.IntN(nodes), rng.IntN(nodes)
					if a != b {
						nw.Reset(all[a].Node, all[b].Node)
					}
				}
			}
			recover()
			lastHeap, lastGo = live(), runtime.NumGoroutine()
			if time.Since(began) < warm {
				firstHeap, firstGo = lastHeap, lastGo
			}
		}
		t.Logf("%s: %d events, %d broadcasts, %d due, %d lost, %d twice; heap %d MiB after %s and %d MiB at the end, goroutines %d and %d",
			*soak, events, said, due, lost, twice, firstHeap>>20, warm, lastHeap>>20, firstGo, lastGo)
		if twice > 0 {
			t.Errorf("%d came twice", twice)
		}
		if *soak > warm && (lastHeap > firstHeap*3/2 || lastGo > firstGo*5/4) {
			t.Error("memory or goroutines grow")
		}
	})
}
