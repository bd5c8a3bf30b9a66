package netservice_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// large is what became of the large broadcasts at a node.
func (n *largeNet) large(i int) netservice.LargeTypeStats {
	return n.nodes[i].Service().Stats().Large.Types[largeType.Name()]
}

// TestLargeSilentPeers: peers that say to have a message and send nothing of it cost
// less than a second, and are not blamed; the next message hardly feels them.
func TestLargeSilentPeers(t *testing.T) {
	crowd(t)
	var without float64
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 20, 8, 1, signed(t))
		n.ready()
		without = n.timed(1, 1<<20)
		n.nw.Stop()
	})
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 20, 8, 1, signed(t))
		n.ready()
		banned := n.bans()
		n.rogue(3, pretends)
		n.rogue(7, pretends)
		with := n.timed(1, 1<<20, 3, 7)
		time.Sleep(5 * time.Second)
		known := n.timed(2, 1<<20, 3, 7)
		t.Logf("%.2f s without silent ones, %.2f s with, %.2f s when they are known", without, with, known)
		if with > without+1 || known > without+.3 {
			t.Error("they cost too much")
		}
		snubs := 0
		for i := range n.nodes {
			snubs += int(n.large(i).Snubs)
		}
		if snubs == 0 {
			t.Error("nobody has noticed them")
		}
		n.balanced(3, 7)
		if banned.peers() > 0 {
			t.Errorf("banned: %v", banned.by)
		}
		n.nw.Stop()
	})
}

// TestLargeLiar: whoever sends other bytes than those that were announced is banned by
// all that asked for some, and only that one: not those with a hundredth of the line.
func TestLargeLiar(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 12, 6, 1, signed(t))
		n.ready()
		n.nw.SetBandwidth(n.nodes[7], nettest.Bandwidth{Up: 5e5, Down: 5e5})
		liar := n.rogue(3, lies)
		banned := n.bans()
		n.publish(0, 1, 1<<20)
		n.wait(1, 3*time.Minute, 0, 3)
		time.Sleep(5 * time.Second)
		lied := 0
		for i := range n.nodes {
			if i != 3 && n.large(i).Lies > 0 {
				lied++
			}
		}
		if of := banned.of(liar.h.ID()); lied == 0 || of != lied || banned.peers() != 1 {
			t.Errorf("it lied to %d nodes, %d have banned it; banned: %v", lied, of, banned.by)
		}
		n.nw.Stop()
	})
}

// TestLargeCopiedHeader: a header of a genuine message beside other chunks passes
// nobody: not a chunk is asked for, and whoever announces it loses its good name.
func TestLargeCopiedHeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 6, 4, 1, signed(t))
		n.ready()
		banned := n.bans()
		r := n.rogue(3, nil)
		peers := r.h.Network().Peers()
		genuine := n.manifest(3, block(1, 1<<20)).Header
		for i := range 10 {
			m := wire.NewManifest(largeType.Name(), block(byte(i+2), 1<<20), genuine)
			m.Header = append(slices.Clone(genuine[:len(genuine)-1]), byte(i)) // else two are all that is looked at
			for _, p := range peers {
				r.say(p, &wire.Frame{Kind: wire.Announce, Number: uint32(i) + 1, Manifest: m, Whole: true})
			}
		}
		largeWait(t, "ban of whoever announces it", 10*time.Second, func() bool { return banned.of(r.h.ID()) == len(peers) })
		if r.heard(wire.Want) > 0 || banned.peers() != 1 {
			t.Errorf("asked for chunks %d times, banned: %v", r.heard(wire.Want), banned.by)
		}
		told := 0
		for i := range n.nodes {
			if n.large(i).Announced > 0 {
				told++
			}
		}
		if told > len(peers) {
			t.Errorf("%d nodes were told, of %d peers", told, len(peers))
		}
		n.nw.Stop()
	})
}

// TestLargeJunkBehindHeader: where the author's header is good and what is behind it is
// junk, the author is shown to the program, and the nodes that passed it on are blamed by
// nobody.
func TestLargeJunkBehindHeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var invalid atomic.Int64
		n := newLargeNet(t, 8, 4, 1, func(i int, s *netservice.NebService) {
			h := netservice.SignedHeaders(largeKey(t, i), func(peer.ID) bool { return true })
			h.Invalid = func(netservice.LargeHeader) {
				invalid.Add(1)
				panic("invalid")
			}
			if err := s.SetHeaders(largeType.Name(), h); err != nil {
				t.Fatal(err)
			}
		})
		n.ready()
		banned := n.bans()
		r := n.rogue(3, nil)
		data := block(9, 1<<20)
		m := n.manifest(3, data)
		r.on = func(r *rogue, p peer.ID, f wire.Frame) {
			if f.Kind != wire.Want {
				return
			}
			for c := range f.Chunks.All() {
				from, to := m.Span(c)
				r.say(p, &wire.Frame{Kind: wire.Chunk, Number: 1, Index: c, Data: data[from:to]})
			}
		}
		for _, p := range r.h.Network().Peers() {
			r.say(p, &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m, Whole: true})
		}
		// Some are told to give it up before they have all of it.
		time.Sleep(time.Minute)
		whole := 0
		for i, nd := range n.nodes {
			whole += int(n.large(i).Fetched)
			if st := nd.Service().Stats().Large; st.Held > 0 {
				t.Errorf("node %d holds %d bytes", i, st.Held)
			}
		}
		if told := int(invalid.Load()); told != whole || told == 0 {
			t.Errorf("%d nodes had all of it, %d programs were told", whole, told)
		}
		n.balanced()
		for i, nd := range n.nodes {
			for p, g := range nd.Service().Stats().Gossip.Peers {
				if g.Parts.Faults != 0 || g.Parts.Behaviour != 0 {
					t.Errorf("node %d blames %s: %+v", i, p, g.Parts)
				}
			}
		}
		if banned.peers() > 0 {
			t.Errorf("banned: %v", banned.by)
		}
		n.nw.Stop()
	})
}

// TestLargeStorm: a thousand announcements a second cost a few checks of headers, no
// memory and no time of an honest message, and then the peer.
func TestLargeStorm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var checks atomic.Int64
		n := newLargeNet(t, 6, 4, 1, func(i int, s *netservice.NebService) {
			h := netservice.SignedHeaders(largeKey(t, i), func(peer.ID) bool { return true })
			// One that nobody trusts and that is not malformed either: it is ignored.
			check := h.Check
			h.Check = func(ctx context.Context, lh netservice.LargeHeader) netservice.Verdict {
				if len(lh.Header) == 4 {
					checks.Add(1)
					return netservice.Ignore()
				}
				return check(ctx, lh)
			}
			if err := s.SetHeaders(largeType.Name(), h); err != nil {
				t.Fatal(err)
			}
		})
		n.ready()
		banned := n.bans()
		r := n.rogue(3, nil)
		peers := r.h.Network().Peers()
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 5000 {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				m := &wire.Manifest{Type: largeType.Name(), Size: 1 << 20, Sums: make([]wire.Sum, 64), Header: []byte{1, 2, byte(i), byte(i >> 8)}}
				m.Sums[0] = wire.Sum{byte(i), byte(i >> 8)}
				for _, p := range peers {
					r.say(p, &wire.Frame{Kind: wire.Announce, Number: uint32(i) + 1, Manifest: m})
				}
			}
		}()
		time.Sleep(500 * time.Millisecond)
		took := n.timed(1, 1<<20, 3)
		largeWait(t, "ban of whoever announces so much", 10*time.Second, func() bool { return banned.of(r.h.ID()) == len(peers) })
		close(stop)
		<-done
		if took > 2 {
			t.Errorf("an honest message took %.2f s", took)
		}
		// Twenty at once and ten a second, for ten seconds at most.
		if c := checks.Load(); c == 0 || int(c) > 120*len(peers) || banned.peers() != 1 {
			t.Errorf("%d headers were checked, banned: %v", c, banned.by)
		}
		for i := range n.nodes {
			if st := n.nodes[i].Service().Stats().Large; i != 3 && st.Held > 1<<21 {
				t.Errorf("node %d holds %d bytes for %d messages", i, st.Held, len(st.Messages))
			}
		}
		n.nw.Stop()
	})
}

// TestLargeMemoryFull: whatever peers declare, what is set aside stays within the bound,
// and an honest message comes all the same, and soon.
func TestLargeMemoryFull(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 12, 8, 1, signed(t))
		n.ready()
		var but []int
		for i := range 6 {
			r := n.rogue(2+i, nil)
			but = append(but, 2+i)
			for k := range 8 {
				m := n.manifest(2+i, block(byte(50+8*i+k), 8<<20-4096))
				for _, p := range r.h.Network().Peers() {
					r.say(p, &wire.Frame{Kind: wire.Announce, Number: uint32(k) + 1, Manifest: m, Whole: true})
				}
			}
		}
		time.Sleep(2 * time.Second)
		n.publish(0, 1, 1<<20)
		most, turned := 0, int64(0)
		largeWait(t, "the honest message", 30*time.Second, func() bool {
			left := false
			for i, nd := range n.nodes {
				if slices.Contains(but, i) || i == 0 {
					continue
				}
				most = max(most, nd.Service().Stats().Large.Held)
				left = left || !n.has(i, 1)
			}
			return !left
		})
		for i := range n.nodes {
			turned += n.large(i).TurnedAway
		}
		t.Logf("at most %d MiB set aside at a node, %d announcements turned away", most>>20, turned)
		if most > 64<<20 || most < 32<<20 {
			t.Errorf("%d bytes set aside", most)
		}
		n.nw.Stop()
	})
}
