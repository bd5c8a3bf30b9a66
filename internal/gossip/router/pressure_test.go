package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// crowdRig is a router with three members in the mesh of "t".
func crowdRig(t *testing.T) *rig {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	for i := range 3 {
		g.member(name(i), true, "t")
		g.graft(name(i), "t")
	}
	return g
}

func (g *rig) full(id peer.ID, on bool) []Effect { return g.step(Event{Kind: Full, Peer: id, On: on}) }

func (g *rig) load(id peer.ID, bytes float64, busy time.Duration) {
	g.step(Event{Kind: Loaded, Peer: id, Load: Load{Bytes: bytes, Busy: busy}})
}

func count(es []Effect, k EffectKind) (n int) {
	for _, e := range es {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// Whoever brings something for a full peer is to wait, and is told when to look
// again.
func TestFullPeersHoldBackWhoBringsMore(t *testing.T) {
	g := crowdRig(t)
	g.topic(testTopic("other"))
	if g.r.Pressed("t", "") || g.r.Pressed("nope", "") {
		t.Error("pressed before anybody is full")
	}
	g.full(name(1), true)
	for _, c := range []struct {
		topic string
		from  peer.ID
		want  bool
	}{
		{"t", "", true},
		{"t", name(0), true},
		{"t", name(1), false}, // it is not sent what it brings
		{"other", "", false},
		{"nope", "", false},
	} {
		if got := g.r.Pressed(c.topic, c.from); got != c.want {
			t.Errorf("%s from %q: %v", c.topic, c.from, got)
		}
	}
	if n := count(g.full(name(1), false), Eased); n != 1 || g.r.Pressed("t", "") {
		t.Errorf("eased %d times", n)
	}
	g.full(name(1), true)
	if n := count(g.step(Event{Kind: Closed, Peer: name(1)}), Eased); n != 1 || g.r.Pressed("t", "") {
		t.Errorf("eased %d times when the stream ended", n)
	}
	g.full(name(1), true) // late
	if g.r.Pressed("t", "") || g.r.fullPeers != 0 {
		t.Error("a peer without a stream is full")
	}
}

// A peer outside of the mesh is sent own messages alone.
func TestPressureFollowsTheWayOfMessages(t *testing.T) {
	g := crowdRig(t)
	g.prune(name(1), "t", 60)
	g.full(name(1), true)
	if !g.r.Pressed("t", "") || g.r.Pressed("t", name(0)) {
		t.Errorf("own %v, others' %v", g.r.Pressed("t", ""), g.r.Pressed("t", name(0)))
	}
	g.drain()
	g.pass(time.Second)
	if count(g.drain(), Eased) == 0 {
		t.Error("nobody looks again at the heartbeat")
	}
}

// One slow peer is waited for 10 s, and a tenth of the time after that. A crowd in
// which all are as slow is waited for as long as it takes.
func TestPatience(t *testing.T) {
	beat := func(g *rig, paces ...float64) {
		for i, pace := range paces {
			if pace > 0 {
				g.load(name(i), 1000, time.Duration(1000/pace*float64(time.Second)))
			}
		}
		g.pass(time.Second)
	}
	for _, c := range []struct {
		name  string
		paces []float64 // of the three, in bytes a second; 0 is sent nothing
		slow  bool
	}{
		{"slow among fast ones", []float64{1e6, 1e3, 1e6}, true},
		{"all are slow", []float64{1e3, 1e3, 1e3}, false},
		{"somewhat slower", []float64{2e3, 1e3, 2e3}, false},
		{"slow as another one", []float64{1e6, 1e3, 1e3}, false},
		{"the only one that is sent anything", []float64{0, 1e3, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := crowdRig(t)
			beat(g, c.paces...)
			g.full(name(1), true)
			for i := range 9 {
				beat(g, c.paces...)
				if !g.r.Pressed("t", "") {
					t.Fatalf("not waited for after %d s", i+1)
				}
			}
			g.drain()
			for range 50 {
				beat(g, c.paces...)
			}
			if got := count(g.drain(), Slow); got > 1 || (got == 1) != c.slow || g.r.Pressed("t", "") == c.slow {
				t.Errorf("%d times slow, pressed %v", got, g.r.Pressed("t", ""))
			}
		})
	}
}

// Patience that is used up comes back slowly, and is not had anew by a new stream.
func TestPatienceComesBackSlowly(t *testing.T) {
	g := crowdRig(t)
	beats := func(n int) {
		for range n {
			g.load(name(0), 1000, time.Millisecond)
			g.load(name(1), 1000, time.Second)
			g.load(name(2), 1000, time.Millisecond)
			g.pass(time.Second)
		}
	}
	beats(1)
	g.full(name(1), true)
	beats(11)
	if g.r.Pressed("t", "") {
		t.Fatal("waited for still")
	}
	g.full(name(1), false)
	g.full(name(1), true)
	if g.r.Pressed("t", "") {
		t.Error("patience is back at once")
	}
	g.step(Event{Kind: Closed, Peer: name(1)})
	g.step(Event{Kind: Silent, Peer: name(1)})
	g.member(name(1), true, "t")
	g.graft(name(1), "t")
	g.full(name(1), true)
	if g.r.Pressed("t", "") {
		t.Error("a new stream brings patience back")
	}
	g.full(name(1), false)
	beats(50)
	g.full(name(1), true)
	if !g.r.Pressed("t", "") {
		t.Error("patience does not come back")
	}
	beats(4)
	if !g.r.Pressed("t", "") {
		t.Error("less patience than has come back")
	}
	beats(3)
	if g.r.Pressed("t", "") {
		t.Error("more patience than has come back")
	}
}

// Whoever brings most of a topic of which much waits to be validated is to wait, and for
// as long as it takes a hundred a second, or 10 s.
func TestCrowdedTopicsHoldBackWhoBringsMost(t *testing.T) {
	g := newRig(t, nil)
	spec := testTopic("t")
	spec.Inline, spec.Concurrency, spec.Queue, spec.Deadline = false, 1, 100, time.Hour
	g.topic(spec)
	g.member(name(0), true, "t")
	g.member(name(1), true, "t")
	var judging []*Message
	say := func(from peer.ID, n int) {
		for range n {
			g.say(from, "t", fmt.Sprint(g.steps), 10)
		}
	}
	accept := func(n int) {
		for range n {
			for _, e := range g.drain() {
				if e.Kind == Validate {
					judging = append(judging, e.Msg)
				}
			}
			g.judge(judging[0], Verdict{Action: Accept})
			judging = judging[1:]
		}
	}
	say(name(1), 2)
	say(name(0), 72)
	if g.r.Pressing() {
		t.Fatal("crowded below three quarters")
	}
	say(name(0), 3)
	if !g.r.Pressing() || !g.r.TopicFull("t", name(0)) || g.r.TopicFull("t", name(1)) || g.r.TopicFull("t", name(2)) || g.r.TopicFull("nope", name(0)) {
		t.Error("not crowded for the one that brings most, or for another")
	}
	accept(26)
	if g.r.Pressing() || g.r.TopicFull("t", name(0)) {
		t.Error("crowded at half")
	}
	for range 30 { // a hundred a second are enough
		say(name(0), 100-g.r.topics["t"].queue.waiting)
		accept(100)
		g.pass(time.Second)
	}
	say(name(0), 100-g.r.topics["t"].queue.waiting)
	if !g.r.TopicFull("t", name(0)) {
		t.Error("not waited for though it takes a hundred a second")
	}
	g.pass(15 * time.Second)
	if g.r.Pressing() || g.r.TopicFull("t", name(0)) {
		t.Error("waited for though it stands")
	}
}

// What found no space at once waits in a slot, and is validated there.
func TestInlineTopicsTakeSlotsWhenThereIsNoRoom(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	g.member(name(0), true, "t")
	m := g.say(name(0), "t", "m", 10)
	if n := count(g.drain(), ValidateNow); n != 1 {
		t.Fatalf("tried %d times", n)
	}
	g.judge(m, Verdict{Action: Wait})
	if es := g.drain(); count(es, Validate) != 1 || count(es, ValidateNow) != 0 {
		t.Fatalf("%v", es)
	}
	g.judge(m, Verdict{Action: Accept})
	if c := g.counts("t"); c.Delivered != 1 || len(c.Away) != 0 {
		t.Errorf("%+v", c)
	}
}
