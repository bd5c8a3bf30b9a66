package netservice_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// balanced checks the accounts of large broadcasts at every node.
func (n *largeNet) balanced(skip ...int) {
	n.t.Helper()
	if n.repeats > 0 {
		n.t.Errorf("%d messages were delivered twice", n.repeats)
	}
	for i, nd := range n.nodes {
		st := nd.Service().Stats()
		for _, k := range skip {
			if k == i {
				st = netservice.Stats{}
			}
		}
		c := st.Large.Types[largeType.Name()]
		if c.Lies != 0 || c.Junk != 0 {
			n.t.Errorf("node %d: false chunks %d, never asked for %d", i, c.Lies, c.Junk)
		}
		for id, p := range st.Peers {
			if p.Receive.Faults > 0 {
				n.t.Errorf("node %d blames %s", i, id)
			}
		}
	}
}

// TestLargeSixteenAtOnce: sixteen messages of several authors at once are at all nodes,
// more than are fetched at a time.
func TestLargeSixteenAtOnce(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 12, 6, 1, signed(t))
		n.ready()
		for k := range 16 {
			n.publish(k%3, byte(k+1), 600<<10)
		}
		for k := range 16 {
			n.wait(byte(k+1), 2*time.Minute, k%3)
		}
		n.balanced()
		n.nw.Stop()
	})
}

// TestLargeJoiner: a node that comes while a message is under way gets it, and one that
// comes a few seconds after.
func TestLargeJoiner(t *testing.T) {
	crowd(t)
	for _, headers := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			set := signed(t)
			if !headers {
				set = nil
			}
			n := newLargeNet(t, 6, 4, 1, set)
			n.ready()
			n.publish(0, 1, 4<<20)
			cfg := chain()
			cfg.Bootstrap = []string{n.nodes[5].Addr(), n.nodes[4].Addr()}
			late := newArrivals(2)
			n.nodes, n.at = append(n.nodes, n.nw.Add(cfg, quiet()), n.nw.Add(cfg, quiet())), append(n.at, late.at...)
			n.setup(6, n.nodes[6].Service(), set)
			n.setup(7, n.nodes[7].Service(), set)
			time.Sleep(300 * time.Millisecond)
			n.nodes[6].Start()
			n.wait(1, time.Minute, 0, 7)
			n.nodes[7].Start()
			n.wait(1, time.Minute, 0)
			n.balanced()
			n.nw.Stop()
		})
	}
}

// TestLargeAuthorDies: an author that dies when half of its message is out leaves nothing
// behind; one that dies when all of it is out loses nothing.
func TestLargeAuthorDies(t *testing.T) {
	crowd(t)
	for _, tt := range []struct {
		name  string
		out   int // bytes
		whole bool
	}{
		{"half", 2 << 20, false},
		{"all", 4 << 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newLargeNet(t, 10, 6, 1, signed(t))
				n.ready()
				n.publish(0, 1, 4<<20)
				for n.nodes[0].Service().Stats().Large.Messages[0].Out < tt.out {
					time.Sleep(time.Millisecond)
				}
				if tt.whole {
					time.Sleep(500 * time.Millisecond) // the last ones are on their way
				}
				n.nodes[0].Crash()
				if tt.whole {
					n.wait(1, time.Minute, 0)
				}
				time.Sleep(12 * time.Minute) // nobody keeps it for longer than ten
				for i, nd := range n.nodes[1:] {
					if st := nd.Service().Stats().Large; st.Held != 0 {
						t.Errorf("node %d holds %d bytes: %+v", i+1, st.Held, st.Messages)
					}
				}
				n.nw.Stop()
			})
		})
	}
}

// TestLargePartition: a partition in the middle of a message, healed after 20 s, loses
// nothing.
func TestLargePartition(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 10, 6, 1, signed(t))
		n.ready()
		n.publish(0, 1, 4<<20)
		time.Sleep(400 * time.Millisecond)
		n.nw.Partition(n.nodes[:5], n.nodes[5:])
		time.Sleep(20 * time.Second)
		n.nw.Heal()
		if !n.wait(1, 90*time.Second, 0) {
			for i, nd := range n.nodes {
				st := nd.Service().Stats().Large
				t.Logf("node %d, %d peers, has it %t: %+v %+v", i, len(nd.Service().Peers()), n.has(i, 1), st.Messages, st.Types[largeType.Name()])
			}
		}
		n.balanced()
		n.nw.Stop()
	})
}

// TestLargeCrashAndRestart: a node that crashes while it fetches and comes back has the
// message then.
func TestLargeCrashAndRestart(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 8, 6, 1, signed(t))
		n.ready()
		n.publish(0, 1, 4<<20)
		time.Sleep(600 * time.Millisecond)
		n.nodes[3].Crash()
		n.wait(1, time.Minute, 0, 3)
		n.nodes[3].Restart(func(s *netservice.NebService) { n.setup(3, s, signed(t)) })
		n.wait(1, time.Minute, 0)
		n.balanced(3)
		n.nw.Stop()
	})
}

// TestLargeSlowPeers: nodes with a hundredth of the line get it late, hold up nobody, and
// are not blamed.
func TestLargeSlowPeers(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 12, 6, 1, signed(t))
		n.ready()
		for _, i := range []int{3, 7} {
			n.nw.SetBandwidth(n.nodes[i], nettest.Bandwidth{Up: 5e5, Down: 5e5})
		}
		n.publish(0, 1, 1<<20)
		n.wait(1, 15*time.Second, 0, 3, 7)
		n.wait(1, 3*time.Minute, 0)
		n.balanced()
		n.nw.Stop()
	})
}

// TestLargeProgress: the program is told how a message comes.
func TestLargeProgress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var told, last atomic.Int64
		n := newLargeNet(t, 2, 2, 1, signed(t), netservice.WithLargeProgress(func(m netservice.LargeMessage) {
			told.Add(1)
			last.Store(int64(m.Here))
		}))
		n.ready()
		n.nw.SetBandwidth(n.nodes[0], nettest.Bandwidth{Up: 4e6, Down: 4e6})
		n.publish(0, 1, 2<<20)
		n.wait(1, time.Minute, 0)
		time.Sleep(time.Second)
		if told.Load() < 10 || told.Load() > 100 || last.Load() < 2<<20 {
			t.Errorf("told %d times, at last of %d bytes", told.Load(), last.Load())
		}
		n.nw.Stop()
	})
}
