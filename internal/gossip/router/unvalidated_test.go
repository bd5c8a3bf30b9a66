package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// reject has a peer send n messages that are rejected, one a second, and returns how
// many of them were validated.
func (g *rig) reject(from peer.ID, topic, word string, n int, author peer.ID) (judged int) {
	for i := range n {
		m := testMessage(from, topic, fmt.Sprint(word, i), 10)
		m.Author = author
		g.drain()
		g.step(Event{Kind: Received, Msg: m})
		for _, e := range g.drain() {
			if e.Kind == Validate && e.Msg == m || e.Kind == ValidateNow && e.Msg == m {
				judged++
				g.judge(m, Verdict{Action: Reject})
			}
		}
		g.pass(time.Second)
	}
	return judged
}

// What a peer passed on that does not validate messages counts in their topic alone: it
// leaves the mesh there, and little more is taken from it; its score stays. One that
// validates, and an author, pay in full.
func TestUnjudged(t *testing.T) {
	for name, tc := range map[string]struct {
		on          bool
		author      peer.ID
		least, most int // validated of 60, one a second
		score       float64
	}{
		"passed on":         {on: true, least: 3, most: 12},
		"signed by another": {on: true, author: "other", least: 3, most: 12},
		"its own":           {on: true, author: "p00", least: 3, most: 12, score: -70},
		"it judges":         {least: 3, most: 12, score: -70},
	} {
		t.Run(name, func(t *testing.T) {
			g := crowd(t, 1, 1, nil)
			other := testTopic("other")
			g.topic(other)
			g.subscribe(name0, "t", "other")
			g.pass(2 * time.Second)
			g.step(Event{Kind: Unvalidated, Peer: name0, Topic: "t", On: tc.on})
			if n := g.reject(name0, "t", "bad", 60, tc.author); n < tc.least || n > tc.most {
				t.Errorf("%d of 60 were judged", n)
			}
			score := g.r.Score(name0)
			if tc.score == 0 && score < 0 || tc.score < 0 && score > tc.score {
				t.Errorf("its score is %v", score)
			}
			merely := tc.score == 0
			if g.r.Heeds("other", name0) != merely || g.r.Heeds("t", name0) && g.r.Score(name0) > -70 && !merely {
				t.Errorf("it is heeded in another topic: %v", !merely)
			}
			g.graft(name0, "t")
			if v := g.counts("t"); len(v.Mesh) != 0 {
				t.Error("it is in the mesh")
			}
			if v := g.counts("other"); (len(v.Mesh) == 1) != merely {
				t.Errorf("in the mesh of the other topic: %v", v.Mesh)
			}
			g.pass(15 * time.Minute)
			if !g.r.Heeds("t", name0) || g.r.Score(name0) < 0 {
				t.Errorf("a quarter of an hour later its score is %v", g.r.Score(name0))
			}
			g.pass(2 * time.Minute) // back-off
			g.accept(name0, "t", "good", 10)
			if v := g.counts("t"); v.Delivered != 1 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A peer that comes again has what it passed on still on its account.
func TestUnjudgedComesAgain(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	on := Event{Kind: Unvalidated, Peer: name0, Topic: "t", On: true}
	g.step(on)
	g.reject(name0, "t", "bad", 5, "")
	if g.r.Heeds("t", name0) {
		t.Fatal("it is heeded")
	}
	g.step(Event{Kind: Closed, Peer: name0})
	g.step(Event{Kind: Silent, Peer: name0})
	g.step(Event{Kind: Tick})
	g.member(name0, false, "t")
	g.step(on)
	if g.r.Heeds("t", name0) {
		t.Error("it is heeded once it has come again")
	}
	if n := g.reject(name0, "t", "again", 3, ""); n > 1 {
		t.Errorf("%d more are judged", n)
	}
}

// What was announced in another way counts like what came.
func TestInvalidElsewhere(t *testing.T) {
	g := crowd(t, 2, 2, nil)
	g.step(Event{Kind: Unvalidated, Peer: name0, Topic: "t", On: true})
	for range 4 {
		g.step(Event{Kind: Invalid, Peer: name0, Topic: "t"})
		g.step(Event{Kind: Invalid, Peer: name(1), Topic: "t"})
	}
	g.step(Event{Kind: Invalid, Peer: "nobody", Topic: "t"})
	g.step(Event{Kind: Invalid, Peer: name0, Topic: "no topic"})
	if g.r.Heeds("t", name0) || g.r.Score(name0) != 0 {
		t.Errorf("the one that does not judge: %v", g.r.Score(name0))
	}
	if g.r.Score(name(1)) != -160 {
		t.Errorf("the one that judges: %v", g.r.Score(name(1)))
	}
}

const name0 = peer.ID("p00")
