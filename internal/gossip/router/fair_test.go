package router

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// slow is a topic whose messages wait for slots: 4, and 4 places to wait.
func slow() TopicSpec {
	spec := testTopic("t")
	spec.Inline = false
	return spec
}

func slowRig(t *testing.T, spec TopicSpec, edit func(*Config), peers ...peer.ID) *rig {
	g := newRig(t, edit)
	g.topic(spec)
	for _, p := range peers {
		g.member(p, true, "t")
	}
	g.drain()
	return g
}

func TestSlotsAreShared(t *testing.T) {
	g := slowRig(t, slow(), nil, "flood", "honest")
	var first []*Message
	for i := range 20 {
		first = append(first, g.say("flood", "t", fmt.Sprint("f", i), 10))
	}
	if ids := judgedIDs(g.drain()); !slices.Equal(ids, []string{"f0", "f1", "f2"}) {
		t.Fatalf("judged %v: one slot of four is left to others", ids)
	}
	if v := g.counts("t"); v.Away[AwayOverload] != 13 {
		t.Errorf("%+v", v)
	}
	h := []*Message{g.say("honest", "t", "h0", 10), g.say("honest", "t", "h1", 10), g.say("honest", "t", "h2", 10)}
	if ids := judgedIDs(g.drain()); !slices.Equal(ids, []string{"h0"}) {
		t.Fatalf("judged %v", ids)
	}
	// The queue was full of the flooder's, who gave way.
	if v := g.counts("t"); v.Away[AwayOverload] != 15 {
		t.Errorf("%+v", v)
	}
	g.judge(h[0], Verdict{Action: Accept})
	g.judge(first[0], Verdict{Action: Ignore})
	g.judge(first[1], Verdict{Action: Ignore})
	ids := judgedIDs(g.drain())
	if !slices.Contains(ids, "h1") || !slices.Contains(ids, "h2") {
		t.Errorf("judged next: %v", ids)
	}
}

// One that sends without end takes no more than its share from one that does not.
func TestFloodDoesNotKeepOthersOut(t *testing.T) {
	spec := slow()
	spec.Concurrency, spec.Queue = 64, 1024
	g := slowRig(t, spec, nil, "flood", "honest")
	g.every = 5000
	type job struct {
		m    *Message
		done time.Time
	}
	var jobs []job
	take := func() {
		for _, e := range g.drain() {
			if e.Kind == Validate || e.Kind == ValidateNow {
				jobs = append(jobs, job{e.Msg, g.now.Add(100 * time.Millisecond)})
			}
		}
	}
	delivered := 0
	for i := range 3000 { // 10 ms each: the flooder sends 5,000 a second, and 640 can be validated
		g.now = g.now.Add(10 * time.Millisecond)
		for k := range 50 {
			g.step(Event{Kind: Received, Msg: testMessage("flood", "t", fmt.Sprint("f", i, "/", k), 10)})
		}
		if i%10 == 0 {
			g.say("honest", "t", fmt.Sprint("h", i), 10)
		}
		take()
		for len(jobs) > 0 && !jobs[0].done.After(g.now) {
			m := jobs[0].m
			jobs = jobs[1:]
			v := Verdict{Action: Ignore}
			if m.From == "honest" {
				v.Action = Accept
				delivered++
			}
			g.judge(m, v)
			take()
		}
		if i%100 == 0 {
			g.step(Event{Kind: Tick})
			take()
		}
	}
	if delivered < 297 {
		t.Errorf("%d of an honest 300 were judged", delivered)
	}
	if s := g.r.Score("flood"); s >= 0 {
		t.Errorf("what is ignored again and again leaves the score at %v", s)
	}
	if s := g.r.Score("honest"); s <= 0 {
		t.Errorf("the honest peer has %v", s)
	}
}

func TestWaitingIsTimedOut(t *testing.T) {
	g := slowRig(t, slow(), nil, "p", "q")
	for i := range 4 {
		g.say("p", "t", fmt.Sprint(i), 10)
	}
	g.pass(12 * time.Second)
	if v := g.counts("t"); v.Away[AwayTimeout] != 1 {
		t.Errorf("%+v", v)
	}
}

func TestConcurrencyChanges(t *testing.T) {
	spec := slow()
	g := slowRig(t, spec, nil, "p", "q")
	for i := range 5 {
		g.say("p", "t", fmt.Sprint(i), 10)
	}
	if n := len(judgedIDs(g.drain())); n != 3 {
		t.Fatalf("%d judged", n)
	}
	spec.Concurrency = 16
	g.step(Event{Kind: Declare, Spec: &spec})
	if n := len(judgedIDs(g.drain())); n != 2 {
		t.Errorf("%d more judged", n)
	}
}

func TestDeferAndResume(t *testing.T) {
	g := slowRig(t, slow(), nil, "p")
	m := g.say("p", "t", "child", 10)
	g.judge(m, Verdict{Action: Defer, Key: "parent"})
	if n, bytes := g.r.AllDeferred(); n != 1 || bytes != 10 || g.r.Deferred("parent") != 1 {
		t.Fatalf("%d with %d bytes", n, bytes)
	}
	g.drain()
	g.step(Event{Kind: Resume, Key: "other"})
	g.step(Event{Kind: Resume, Key: "parent"})
	if ids := judgedIDs(g.drain()); !slices.Equal(ids, []string{"child"}) {
		t.Fatalf("%v", ids)
	}
	// Deferred again, before and after the key is resumed once more.
	g.judge(m, Verdict{Action: Defer, Key: "parent"})
	if ids := judgedIDs(g.drain()); len(ids) != 0 {
		t.Fatal("judged again though nobody resumed it")
	}
	g.step(Event{Kind: Resume, Key: "parent"})
	g.step(Event{Kind: Resume, Key: "parent"})
	g.drain()
	g.judge(m, Verdict{Action: Defer, Key: "parent"})
	if ids := judgedIDs(g.drain()); len(ids) != 1 {
		t.Fatal("its key was resumed while it was judged")
	}
	g.judge(m, Verdict{Action: Accept})
	if n, bytes := g.r.AllDeferred(); n != 0 || bytes != 0 || g.counts("t").Delivered != 1 {
		t.Errorf("%d with %d bytes, %+v", n, bytes, g.counts("t"))
	}
}

func TestDeferredExpires(t *testing.T) {
	g := slowRig(t, slow(), nil, "p")
	g.judge(g.say("p", "t", "child", 10), Verdict{Action: Defer, Key: "parent"})
	g.drain()
	g.pass(62 * time.Second)
	if n, _ := g.r.AllDeferred(); n != 0 || g.counts("t").Expired != 1 {
		t.Fatalf("%d, %+v", n, g.counts("t"))
	}
	if c := said(g.drain(), "p"); len(c.Want) != 0 {
		t.Error("asked for, though nobody wants it")
	}
	if m := g.say("p", "t", "child", 10); m == nil {
		t.Error("not taken when it comes again")
	}
}

// Resumed messages that wait for a slot keep their places.
func TestResumedKeepTheirPlaces(t *testing.T) {
	spec := slow()
	spec.Concurrency = 1
	g := slowRig(t, spec, nil, "p")
	for i := range 3 {
		g.judge(g.say("p", "t", fmt.Sprint(i), 10), Verdict{Action: Defer, Key: "k"})
	}
	g.step(Event{Kind: Resume, Key: "k"})
	if n, _ := g.r.AllDeferred(); n != 2 { // one is being validated
		t.Errorf("%d places", n)
	}
	g.step(Event{Kind: Retract, Topic: "t"})
	if n, bytes := g.r.AllDeferred(); n != 0 || bytes != 0 {
		t.Errorf("%d places with %d bytes of a topic that is gone", n, bytes)
	}
}

// Neither all places of a key nor all bytes can be held by one peer.
func TestParkingIsShared(t *testing.T) {
	park := func(g *rig, p peer.ID, id, key string, size int) {
		t.Helper()
		m := g.say(p, "t", id, size)
		if m == nil {
			t.Fatalf("%s is known", id)
		}
		g.judge(m, Verdict{Action: Defer, Key: key})
	}
	parked := func(g *rig, id string) bool { e := g.r.book[id]; return e != nil && e.state == deferred }

	g := slowRig(t, slow(), nil, "bad", "good") // 3 for each key
	for i := range 3 {
		park(g, "bad", fmt.Sprint(i), "k", 10)
	}
	park(g, "good", "child", "k", 10)
	if !parked(g, "child") || parked(g, "2") || !parked(g, "1") {
		t.Error("one peer holds all places of a key")
	}
	park(g, "good", "child2", "k", 10)
	if parked(g, "child2") {
		t.Error("one that has as much gives way")
	}
	if v := g.counts("t"); v.Away[AwayParking] != 2 {
		t.Errorf("%+v", v)
	}

	g = slowRig(t, slow(), nil, "bad", "good") // 1000 bytes
	for i := range 4 {
		park(g, "bad", fmt.Sprint(i), fmt.Sprint("k", i), 250)
	}
	park(g, "good", "child", "k", 250)
	if !parked(g, "child") || parked(g, "3") {
		t.Error("one peer holds all bytes")
	}
	park(g, "good", "huge", "k", 2000)
	if parked(g, "huge") {
		t.Error("more than all bytes")
	}

	g = slowRig(t, slow(), nil, "a", "b", "c") // 6 in all, 4 for each peer
	for i := range 5 {
		park(g, "a", fmt.Sprint("a", i), fmt.Sprint("a", i), 1)
	}
	park(g, "b", "b0", "b0", 1)
	park(g, "b", "b1", "b1", 1)
	park(g, "c", "c0", "c0", 1)
	if parked(g, "a4") || parked(g, "a3") || !parked(g, "c0") || !parked(g, "b1") {
		t.Error("whoever has most does not give way")
	}
}

func TestResumedKeysAreBounded(t *testing.T) {
	g := slowRig(t, slow(), nil, "p")
	for i := range 3 * maxResumed {
		g.r.Step(Event{Kind: Resume, Key: fmt.Sprint(i)}, g.now)
	}
	if k := g.r.deferrals; len(k.resumed) != maxResumed || len(k.keys) != maxResumed {
		t.Errorf("%d keys remembered", len(k.resumed))
	}
	g.pass(2 * resumedFor)
	if k := g.r.deferrals; len(k.resumed) != 0 {
		t.Errorf("%d keys remembered for ever", len(k.resumed))
	}
}

// What one peer holds in the queues of a topic that it left is released.
func TestRetractFreesEverything(t *testing.T) {
	g := slowRig(t, slow(), nil, "p")
	var ms []*Message
	for i := range 8 {
		ms = append(ms, g.say("p", "t", fmt.Sprint(i), 10))
	}
	g.step(Event{Kind: Retract, Topic: "t"})
	for _, m := range ms {
		g.judge(m, Verdict{Action: Accept})
	}
	if es := g.drain(); len(sent(es, "0")) != 0 || len(g.r.book) != 0 {
		t.Errorf("%d left in the book", len(g.r.book))
	}
	spec := slow()
	g.topic(spec)
	g.pass(time.Second)
	if len(g.counts("t").Mesh) != 1 {
		t.Error("a peer in a topic that is declared again is forgotten")
	}
	g.say("p", "t", "0", 10)
	if ids := judgedIDs(g.drain()); len(ids) != 1 {
		t.Errorf("judged %v", ids)
	}
}
