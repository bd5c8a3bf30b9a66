package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// full is a State whose space neighbours have taken with messages that never come.
type full struct {
	*table
	greedy []peer.ID
	number uint32
}

// newFull has n neighbours that each announce as much as one may, and a, b and c.
func newFull(t *testing.T, n, memory int) *full {
	x := &full{table: newTable(t, "")}
	x.s = New(Config{Memory: memory}, rand.New(rand.NewPCG(1, 2)))
	x.step(Event{Kind: Declare, Spec: &Spec{Type: "block", MaxSize: 4 << 20, Joined: true}})
	for _, p := range []peer.ID{"a", "b", "c"} {
		x.step(Event{Kind: Takes, Peer: p, Takes: map[string]int{"block": 4 << 20}})
	}
	for i := range n {
		g := peer.ID(fmt.Sprint("greedy", i))
		x.greedy = append(x.greedy, g)
		x.step(Event{Kind: Takes, Peer: g, Takes: map[string]int{"block": 4 << 20}})
		for k := range waitPeer {
			m := &wire.Manifest{Type: "block", Size: 4 << 20, Sums: make([]wire.Sum, 64)}
			m.Sums[0] = wire.Sum{byte(i + 1), byte(k + 1)}
			x.tell(g, m)
		}
	}
	return x
}

// tell has a neighbour announce a message that it has all of.
func (x *full) tell(p peer.ID, m *wire.Manifest) {
	x.number++
	d := m.Digest("net")
	x.step(Event{Kind: Received, Peer: p, ID: m.IDOf(d), Digest: d,
		Frame: &wire.Frame{Kind: wire.Announce, Number: x.number, Manifest: m, Whole: true}})
}

// TestGreedyKeepNobodyOut: whatever neighbours announce and do not deliver, what another
// one announces begins when each of theirs has had the time to, once, also if they told of
// it first.
func TestGreedyKeepNobodyOut(t *testing.T) {
	for _, c := range []struct {
		memory, turns int
		first         bool
	}{
		{memory: 64 << 20, turns: 1},
		{memory: 64 << 20, turns: 1, first: true},
		{memory: 8 << 20, turns: 4}, // for two at a time
	} {
		x := newFull(t, 8, c.memory)
		if c.first {
			x.tell(x.greedy[0], x.m)
		}
		x.tell("a", x.m)
		x.pass(time.Duration(c.turns)*yieldTime + time.Second)
		if x.wants("a").Len() == 0 {
			t.Errorf("%+v: not asked for", c)
		}
		if used, _ := x.s.Used(); used > c.memory {
			t.Errorf("%+v: %d bytes set aside", c, used)
		}
		if n := len(x.s.Views()); n > waitMost+fetchMost {
			t.Errorf("%+v: %d messages", c, n)
		}
	}
}

// TestGivesWayOnce: what has begun once does not make others give way, and what delivers
// never does.
func TestGivesWayOnce(t *testing.T) {
	x := newFull(t, 2, 8<<20)
	x.tell("a", x.m)
	x.pass(yieldTime + time.Second)
	for c := range x.wants("a").All() {
		from, to := x.m.Span(c)
		x.step(Event{Kind: Received, Peer: "a", Sum: x.m.Sums[c],
			Frame: &wire.Frame{Kind: wire.Chunk, Number: x.number, Index: c, Data: x.data[from:to]}})
		break
	}
	x.out = nil
	x.pass(stallTime - yieldTime)
	var back, asked int
	for _, g := range x.greedy {
		_, n := x.said(g, wire.Cancel, func(f *wire.Frame) wire.Set { return f.Chunks })
		back += n
		asked += x.wants(g).Len()
	}
	if back == 0 || back > 2*waitPeer || asked == 0 {
		t.Errorf("%d messages gave way, %d chunks were asked for", back, asked)
	}
	if _, n := x.said("a", wire.Cancel, func(f *wire.Frame) wire.Set { return f.Chunks }); n > 0 {
		t.Error("one that delivers gave way")
	}
}

// TestStalledIsToldOfAgain: a neighbour that has all of a message which was given up hears
// so, and can tell of it again.
func TestStalledIsToldOfAgain(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.accept()
	x.out = nil
	x.pass(stallTime + time.Second)
	if _, n := x.said("a", wire.Gone, func(*wire.Frame) wire.Set { return nil }); n != 1 {
		t.Errorf("told %d times that it was given up", n)
	}
	x.out = nil
	x.announce("a", true)
	x.accept()
	if x.wants("a").Len() == 0 {
		t.Error("not taken again")
	}
}
