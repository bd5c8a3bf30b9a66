package sched

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// table plays one State by hand.
type table struct {
	t    *testing.T
	s    *State
	now  time.Time
	out  []Effect // of all steps since it was last cleared
	data []byte
	m    *wire.Manifest
	d    wire.Sum
	id   wire.Sum
}

// newTable has neighbours a, b and c, and a message of 1 MiB.
func newTable(t *testing.T, header string) *table {
	x := &table{t: t, s: New(Config{Memory: 8 << 20}, rand.New(rand.NewPCG(1, 2))), now: time.Unix(1000, 0)}
	x.step(Event{Kind: Declare, Spec: &Spec{Type: "block", MaxSize: 4 << 20, Joined: true, Headers: true}})
	for _, p := range []peer.ID{"a", "b", "c"} {
		x.step(Event{Kind: Takes, Peer: p, Takes: map[string]int{"block": 4 << 20}})
	}
	x.data = make([]byte, 1<<20)
	for i := range x.data {
		x.data[i] = byte(i >> 14)
	}
	x.m = wire.NewManifest("block", x.data, []byte(header))
	x.d = x.m.Digest("net")
	x.id = x.m.IDOf(x.d)
	return x
}

func (x *table) step(ev Event) {
	x.out = append(x.out, x.s.Step(ev, x.now)...)
}

// pass lets time pass, with all wakes in it.
func (x *table) pass(d time.Duration) {
	for end := x.now.Add(d); x.now.Before(end); {
		w := x.s.Wake()
		if w.IsZero() || w.After(end) {
			x.now = end
			return
		}
		x.now = w
		if !w.After(x.now) {
			x.now = x.now.Add(time.Millisecond)
		}
		x.step(Event{Kind: Wake})
	}
}

func (x *table) announce(p peer.ID, whole bool) {
	x.step(Event{Kind: Received, Peer: p, ID: x.id, Digest: x.d,
		Frame: &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: x.m, Whole: whole}})
}

func (x *table) hear(p peer.ID, f wire.Frame) {
	f.Number = 1
	x.step(Event{Kind: Received, Peer: p, Frame: &f})
}

func (x *table) chunk(p peer.ID, c int, bad bool) {
	from, to := x.m.Span(c)
	data := append([]byte(nil), x.data[from:to]...)
	if bad {
		data[0]++
	}
	x.step(Event{Kind: Received, Peer: p, Frame: &wire.Frame{Kind: wire.Chunk, Number: 1, Index: c, Data: data}, Sum: sha256.Sum256(data)})
}

// fetch has a neighbour send every chunk as it is asked for.
func (x *table) fetch(p peer.ID) {
	for n := 0; n < len(x.m.Sums); {
		before := n
		for c := range x.wants(p).All() {
			if !x.s.list[0].have.Has(c) {
				x.chunk(p, c, false)
				n++
			}
		}
		if n == before {
			x.t.Fatalf("%d chunks came", n)
		}
	}
}

func (x *table) accept() { x.step(Event{Kind: Checked, ID: x.id, Verdict: Accept}) }

// said are the chunks of all frames of a kind to a peer, and how many frames there were.
func (x *table) said(p peer.ID, k wire.Kind, of func(f *wire.Frame) wire.Set) (set wire.Set, frames int) {
	for _, e := range x.out {
		if e.Kind == Say && e.Peer == p && e.Frame.Kind == k {
			frames++
			for c := range of(e.Frame).All() {
				set.Add(c)
			}
		}
	}
	return set, frames
}

func (x *table) wants(p peer.ID) wire.Set {
	s, _ := x.said(p, wire.Want, func(f *wire.Frame) wire.Set { return f.Chunks })
	return s
}

func (x *table) did(k EffectKind, p peer.ID) bool {
	for _, e := range x.out {
		if e.Kind == k && (p == "" || e.Peer == p) {
			return true
		}
	}
	return false
}

// TestTakesOf: what a neighbour takes changes type by type, and only for those that can be
// spoken with.
func TestTakesOf(t *testing.T) {
	x := newTable(t, "")
	x.step(Event{Kind: TakesOf, Peer: "a", Type: "block", Most: 0})
	x.step(Event{Kind: TakesOf, Peer: "b", Type: "block", Most: 1 << 10})
	x.step(Event{Kind: TakesOf, Peer: "stranger", Type: "block", Most: 4 << 20})
	x.step(Event{Kind: Publish, Manifest: x.m, ID: x.id, Digest: x.d, Data: x.data})
	for p, told := range map[peer.ID]bool{"a": false, "b": false, "c": true, "stranger": false} {
		if x.did(Say, p) != told {
			t.Errorf("%s was told: %v", p, !told)
		}
	}
	x.step(Event{Kind: TakesOf, Peer: "a", Type: "other", Most: 4 << 20})
	if x.did(Say, "a") {
		t.Error("a was told of what it does not take")
	}
	x.step(Event{Kind: TakesOf, Peer: "a", Type: "block", Most: 4 << 20})
	if !x.did(Say, "a") {
		t.Error("a was not told of what it takes by now")
	}
}

// TestNothingIsAskedTwice: of two holders each is asked for other chunks, and for no more
// than the window.
func TestNothingIsAskedTwice(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.announce("b", true)
	if x.wants("a").Len() > 0 || x.did(Say, "c") {
		t.Error("something was said before the header was accepted")
	}
	x.accept()
	a, b := x.wants("a"), x.wants("b")
	if a.Len() == 0 || b.Len() == 0 {
		t.Errorf("asked a for %d, b for %d", a.Len(), b.Len())
	}
	for c := range a.All() {
		if b.Has(c) {
			t.Errorf("chunk %d is asked of both", c)
		}
	}
	if n := a.Len() * wire.ChunkSize(1<<20); n > 1<<20/3+wire.ChunkSize(1<<20) {
		t.Errorf("%d bytes asked of one of three", n)
	}
	if !x.did(Say, "c") {
		t.Error("c was not told of it")
	}
}

// TestLatePromises: a promise that comes after this node's own does not count.
func TestLatePromises(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", false)
	x.accept()
	x.announce("b", false)
	x.hear("a", wire.Frame{Kind: wire.Have, Soon: wire.SetOf(0)})
	if !x.wants("a").Has(0) {
		t.Fatal("the promise was not taken")
	}
	x.hear("b", wire.Frame{Kind: wire.Have, Soon: wire.SetOf(0, 1)})
	x.step(Event{Kind: Down, Peer: "a"})
	if x.wants("b").Has(0) || !x.wants("b").Has(1) {
		t.Errorf("asked b for %v", x.wants("b"))
	}
	x.hear("b", wire.Frame{Kind: wire.Have, Have: wire.SetOf(0)})
	if !x.wants("b").Has(0) {
		t.Error("what b has is not asked for")
	}
}

// TestPromiseGivesWay: a promise is given up a while after another one has the chunk.
func TestPromiseGivesWay(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", false)
	x.accept()
	x.announce("b", false)
	x.hear("a", wire.Frame{Kind: wire.Have, Soon: wire.SetOf(0)})
	x.pass(switchAfter / 2)
	x.hear("b", wire.Frame{Kind: wire.Have, Have: wire.SetOf(0)})
	x.pass(switchAfter / 2)
	if x.wants("b").Has(0) {
		t.Error("given up too early")
	}
	x.pass(switchAfter)
	if _, n := x.said("a", wire.Cancel, func(f *wire.Frame) wire.Set { return f.Chunks }); n != 1 || !x.wants("b").Has(0) {
		t.Errorf("%d cancels, asked b for %v", n, x.wants("b"))
	}
}

// TestSnub: a holder that sends nothing loses its requests, and is asked again only when
// nobody else has something.
func TestSnub(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.accept()
	x.announce("b", true)
	c := x.wants("b").Max()
	x.pass(answerMost + 2*lookEvery)
	if n := x.s.Counts()["block"]; n.Snubs == 0 {
		t.Fatalf("%+v", n)
	}
	x.out = nil
	x.chunk("b", c, false)
	if x.wants("a").Len() > 0 {
		t.Error("asked again at once")
	}
}

// TestLiarIsBanned, once and for all.
func TestLiarIsBanned(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.accept()
	c := x.wants("a").Max()
	x.chunk("a", c, true)
	if !x.did(Ban, "a") {
		t.Error("not banned")
	}
	x.out = nil
	x.announce("b", true)
	if x.wants("b").Len() == 0 || x.wants("a").Len() > 0 {
		t.Error("not asked of another one")
	}
}

// TestHopByHop: without a header nothing is shown before the whole was accepted.
func TestHopByHop(t *testing.T) {
	x := newTable(t, "")
	x.announce("a", true)
	x.fetch("a")
	if !x.did(Validate, "a") {
		t.Fatal("not judged")
	}
	x.pass(time.Second)
	if x.did(Say, "b") || x.did(Say, "c") {
		t.Error("shown before the verdict")
	}
	x.step(Event{Kind: Validated, ID: x.id, Verdict: Later})
	x.out = nil
	x.pass(validateAgain * 2)
	if !x.did(Validate, "") {
		t.Error("not offered again")
	}
	x.step(Event{Kind: Validated, ID: x.id, Verdict: Accept})
	if !x.did(Say, "b") || !x.did(Say, "c") {
		t.Error("not shown after it")
	}
}

// TestHeaderTwice: no more than two messages are taken under one header.
func TestHeaderTwice(t *testing.T) {
	x := newTable(t, "mined")
	for i := range 3 {
		x.data[0] = byte(i + 1)
		x.m = wire.NewManifest("block", x.data, []byte("mined"))
		x.d = x.m.Digest("net")
		x.id = x.m.IDOf(x.d)
		x.step(Event{Kind: Received, Peer: peer.ID([]string{"a", "b", "c"}[i]), ID: x.id, Digest: x.d,
			Frame: &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: x.m}})
	}
	if _, n := x.said("c", wire.Gone, func(*wire.Frame) wire.Set { return nil }); n != 1 {
		t.Error("the third one was taken")
	}
	if n := len(x.s.Views()); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestForgotten: a message of which nothing comes is dropped, and its memory is free.
func TestForgotten(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.accept()
	if used, _ := x.s.Used(); used != 1<<20 {
		t.Errorf("%d bytes set aside", used)
	}
	x.pass(stallTime + time.Second)
	if used, _ := x.s.Used(); used != 0 || len(x.s.Views()) != 0 {
		t.Errorf("%d bytes set aside, %d messages", used, len(x.s.Views()))
	}
	if x.s.asked() != 0 {
		t.Errorf("%d bytes are still asked for", x.s.asked())
	}
}

// TestBusyNeighbourIsToldAgain: a message is served, and offered again, for as long as a
// neighbour says that it has no space.
func TestBusyNeighbourIsToldAgain(t *testing.T) {
	x := newTable(t, "h")
	x.step(Event{Kind: Publish, ID: x.id, Digest: x.d, Manifest: x.m, Data: x.data})
	last := x.now
	for x.now.Sub(last) < time.Minute && last.Sub(time.Unix(1000, 0)) < 5*time.Minute {
		said := x.out
		x.out = nil
		for _, e := range said {
			if e.Kind != Say || e.Frame.Kind != wire.Announce {
				continue
			}
			no := wire.Frame{Kind: wire.Gone, Number: e.Frame.Number, Yours: true, Reason: wire.Refused}
			if e.Peer == "a" {
				no.Reason, last = wire.Busy, x.now
			}
			x.step(Event{Kind: Received, Peer: e.Peer, Frame: &no})
		}
		x.pass(100 * time.Millisecond)
	}
	if d := last.Sub(time.Unix(1000, 0)); d < 5*time.Minute {
		t.Errorf("told for the last time after %s", d)
	}
	x.pass(serveMost)
	if n := len(x.s.Views()); n != 0 {
		t.Errorf("%d messages are kept", n)
	}
}

// TestServedBeforeItGivesWay: a message that has just come is served before its memory goes
// to another one, so that a peer which announces a lot takes no message from others.
func TestServedBeforeItGivesWay(t *testing.T) {
	x := newTable(t, "h")
	x.announce("a", true)
	x.accept()
	x.fetch("a")
	x.step(Event{Kind: Validated, ID: x.id, Verdict: Accept})
	for i := range 2 {
		m := wire.NewManifest("block", make([]byte, 4<<20-i), []byte{byte(i)})
		d := m.Digest("net")
		x.step(Event{Kind: Received, Peer: "c", ID: m.IDOf(d), Digest: d,
			Frame: &wire.Frame{Kind: wire.Announce, Number: uint32(i) + 10, Manifest: m}})
	}
	known := func() bool { return x.s.msgs[x.id] != nil }
	x.pass(serveTime/6 - time.Second)
	if !known() {
		t.Fatal("the message is gone before others could fetch it")
	}
	x.pass(2 * time.Second)
	if used, _ := x.s.Used(); known() || used != 8<<20-1 {
		t.Errorf("known: %t, %d bytes are set aside", known(), used)
	}
}

// TestOut: what is out are the chunks that some neighbour was given or has, each once; one
// that waits to be given is not.
func TestOut(t *testing.T) {
	x := newTable(t, "h")
	x.step(Event{Kind: Publish, ID: x.id, Digest: x.d, Manifest: x.m, Data: x.data})
	size := x.s.list[0].size(0)
	chunks := func(of ...int) (s wire.Set) {
		for _, c := range of {
			s.Add(c)
		}
		return s
	}
	want := func(what string, n int) {
		t.Helper()
		if got := x.s.Views()[0].Out; got != n*size {
			t.Errorf("%s: %d bytes are out, want %d chunks of %d", what, got, n, size)
		}
	}
	x.hear("a", wire.Frame{Kind: wire.Want, Chunks: chunks(0, 1, 2)})
	x.hear("b", wire.Frame{Kind: wire.Want, Chunks: chunks(2)})
	want("asked for", 0)
	var out wire.Set
	give := func(p peer.ID) {
		for n := -1; n != len(x.out); {
			n = len(x.out)
			x.step(Event{Kind: Pull, Peer: p})
		}
		for _, e := range x.out {
			if e.Kind == Give {
				out.Add(e.Frame.Index)
			}
		}
	}
	give("b")
	if out.Len() == 0 {
		t.Fatal("nothing was given")
	}
	want("given to one", out.Len())
	give("a")
	want("given to two", out.Len())
	x.announce("c", false)
	x.hear("c", wire.Frame{Kind: wire.Have, Have: chunks(0, 2)})
	want("and another has two of them", out.Len())
	for c := range x.m.Sums {
		if !out.Has(c) {
			x.hear("c", wire.Frame{Kind: wire.Have, Have: chunks(c)})
			break
		}
	}
	want("and one that was not out", out.Len()+1)
}

// near tells the State how far away neighbours are.
func (x *table) near(rtt map[peer.ID]time.Duration) {
	for p, d := range rtt {
		x.step(Event{Kind: Path, Peer: p, RTT: d})
	}
}

// TestNearIsAskedForMore: a line that is four times as long brings a quarter in the same
// time, and is asked for less.
func TestNearIsAskedForMore(t *testing.T) {
	x := newTable(t, "h")
	x.near(map[peer.ID]time.Duration{"a": 200 * time.Millisecond, "b": 50 * time.Millisecond})
	x.announce("a", true)
	x.announce("b", true)
	x.accept()
	if a, b := x.wants("a").Len(), x.wants("b").Len(); a == 0 || b < 3*a {
		t.Errorf("the far one was asked for %d, the near one for %d", a, b)
	}
}

// TestSilentAndNear: a neighbour that is near and sends nothing is not waited for as long
// as one may be of which nothing is known.
func TestSilentAndNear(t *testing.T) {
	x := newTable(t, "h")
	x.near(map[peer.ID]time.Duration{"a": 20 * time.Millisecond})
	x.announce("a", true)
	x.accept()
	x.announce("b", true)
	x.pass(answerLeast + 2*20*time.Millisecond + 2*lookEvery)
	if n := x.s.Counts()["block"]; n.Snubs != 1 {
		t.Errorf("%+v", n)
	}
}

func soon(f *wire.Frame) wire.Set   { return f.Soon }
func coming(f *wire.Frame) wire.Set { return f.Coming }

// TestNamedIsNamedOn: what the source names is named on and sent unasked when it comes,
// once: what is promised as well is promised on only.
func TestNamedIsNamedOn(t *testing.T) {
	x := newTable(t, "h")
	x.step(Event{Kind: Received, Peer: "a", ID: x.id, Digest: x.d,
		Frame: &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: x.m, Coming: wire.SetOf(0)}})
	x.accept()
	x.hear("a", wire.Frame{Kind: wire.Have, Coming: wire.SetOf(1)})
	x.hear("a", wire.Frame{Kind: wire.Have, Soon: wire.SetOf(2), Coming: wire.SetOf(2)})
	x.pass(2 * gather)
	named, _ := x.said("b", wire.Have, coming)
	promised, _ := x.said("b", wire.Have, soon)
	for c := range 3 {
		if named.Has(c) != (c < 2) || !promised.Has(c) {
			t.Errorf("chunk %d: named %t, promised %t", c, named.Has(c), promised.Has(c))
		}
	}
	if back, n := x.said("a", wire.Have, coming); n > 0 && !back.Empty() {
		t.Errorf("%v were named to the one that sends them", back)
	}
	// c does not need it, and is not sent it.
	f := wire.Frame{Kind: wire.Cancel, Number: x.s.peers["c"].edges[0].our, Yours: true, Chunks: wire.SetOf(0)}
	x.step(Event{Kind: Received, Peer: "c", Frame: &f})
	x.out = nil
	for c := range 3 {
		x.chunk("a", c, false)
	}
	for _, p := range []peer.ID{"b", "b", "b", "c", "c", "c"} {
		x.step(Event{Kind: Pull, Peer: p})
	}
	var given [2]wire.Set
	for _, e := range x.out {
		if e.Kind == Give {
			given[map[peer.ID]int{"b": 0, "c": 1}[e.Peer]].Add(e.Frame.Index)
		}
	}
	if b := given[0]; b.Len() != 2 || b.Has(2) {
		t.Errorf("b was given %v", b)
	}
	if c := given[1]; c.Len() != 1 || !c.Has(1) {
		t.Errorf("c was given %v", c)
	}
}

// TestNamesAreBounded: a neighbour that names all chunks does not keep them from being
// asked of another one.
func TestNamesAreBounded(t *testing.T) {
	x := newTable(t, "h")
	x.near(map[peer.ID]time.Duration{"a": 200 * time.Millisecond})
	x.step(Event{Kind: Received, Peer: "a", ID: x.id, Digest: x.d,
		Frame: &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: x.m, Coming: wire.Full(64)}})
	x.accept()
	x.announce("b", true)
	if x.wants("b").Len() == 0 {
		t.Error("nothing was asked of the one that has all")
	}
}
