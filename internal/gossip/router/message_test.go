package router

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

func TestForward(t *testing.T) {
	g := crowd(t, 6, 6, nil)
	g.pass(time.Second)
	m := g.say(name(0), "t", "m", 10)
	g.say(name(1), "t", "m", 10) // while it is validated
	if ids := judgedIDs(g.drain()); len(ids) != 1 {
		t.Fatalf("judged %v", ids)
	}
	g.judge(m, Verdict{Action: Accept})
	to := sent(g.drain(), "m")
	if len(to) != 4 || slices.Contains(to, name(0)) || slices.Contains(to, name(1)) {
		t.Errorf("sent to %v", to)
	}
	g.say(name(2), "t", "m", 10)
	es := g.drain()
	if len(es) != 1 || es[0].Kind != Cancel || es[0].Peer != name(2) {
		t.Errorf("a copy that waits for a peer which has it: %+v", es)
	}
	if v := g.counts("t"); v.Delivered != 1 || v.Duplicates != 2 {
		t.Errorf("%+v", v)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		v     Verdict
		sent  int
		score float64
		known bool
	}{
		{Verdict{Action: Accept}, 1, 0.5, true},
		{Verdict{Action: Ignore}, 0, 0, true},
		{Verdict{Action: Reject}, 0, -10, true},
		{Verdict{Action: BadSigned}, 0, -10, false},
		{Verdict{Action: TurnAway, Reason: "full"}, 0, 0, false},
		{Verdict{Action: Defer, Key: "k"}, 0, 0, true},
	} {
		g := crowd(t, 2, 2, nil)
		g.r.cfg.Score.TopicCap = 1000
		g.pass(time.Second)
		m := g.say(name(0), "t", "m", 10)
		g.drain()
		g.judge(m, c.v)
		if n := len(sent(g.drain(), "m")); n != c.sent {
			t.Errorf("%+v: sent to %d", c.v, n)
		}
		if s := g.r.Score(name(0)); s != c.score {
			t.Errorf("%+v: score %v", c.v, s)
		}
		if g.r.Known([]byte("m")) != c.known {
			t.Errorf("%+v: known %v", c.v, !c.known)
		}
	}
}

// Everybody who sends a message that is rejected pays, also later.
func TestRejectedCopiesAreCharged(t *testing.T) {
	g := crowd(t, 3, 3, nil)
	m := g.say(name(0), "t", "m", 10)
	g.say(name(1), "t", "m", 10)
	g.judge(m, Verdict{Action: Reject})
	g.say(name(2), "t", "m", 10)
	for i := range 3 {
		if s := g.r.Score(name(i)); s != -10 {
			t.Errorf("%s has %v", name(i), s)
		}
	}
}

// A forged message under the ID of a true one delays it, and no more.
func TestForgedCopyFirst(t *testing.T) {
	g := crowd(t, 3, 3, nil)
	forged := g.say(name(0), "t", "m", 10)
	g.say(name(1), "t", "m", 10)
	g.drain()
	g.judge(forged, Verdict{Action: BadSigned})
	g.pass(10 * time.Millisecond)
	if c := said(g.drain(), name(1)); !slices.Contains(c.Want, "m") {
		t.Fatalf("who else has it is not asked: %+v", c)
	}
	g.accept(name(1), "t", "m", 10)
	if v := g.counts("t"); v.Delivered != 1 {
		t.Errorf("%+v", v)
	}
	if g.r.Score(name(0)) >= 0 || g.r.Score(name(1)) <= 0 {
		t.Errorf("scores %v and %v", g.r.Score(name(0)), g.r.Score(name(1)))
	}
}

func TestTurnedAwayIsAskedForAndTaken(t *testing.T) {
	g := crowd(t, 2, 2, nil)
	m := g.say(name(0), "t", "m", 10)
	g.judge(m, Verdict{Action: TurnAway, Reason: "full"})
	g.drain()
	g.have(name(1), "t", "m")
	if c := said(g.drain(), name(1)); !slices.Equal(c.Want, []string{"m"}) {
		t.Fatalf("announced, and not asked for: %+v", c)
	}
	g.have(name(1), "t", "m")
	if c := said(g.drain(), name(1)); len(c.Want) != 0 {
		t.Fatalf("asked twice: %+v", c)
	}
	g.pass(3 * time.Second)
	if c := said(g.drain(), name(0)); !slices.Equal(c.Want, []string{"m"}) {
		t.Fatalf("the other holder is not asked: %+v", c)
	}
	g.accept(name(0), "t", "m", 10)
	if v := g.counts("t"); v.Delivered != 1 || v.Retaken != 1 || v.Away["full"] != 1 || v.Duplicates != 0 {
		t.Errorf("%+v", v)
	}
	g.pass(10 * time.Second)
	for _, e := range g.drain() {
		if e.Kind == Say && len(e.Control.Want) > 0 {
			t.Error("asked for though it is there")
		}
	}
}

func TestTurnedAwayIsBounded(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	for i := range maxRetry + 10 {
		m := testMessage(name(0), "t", fmt.Sprint(i), 1)
		g.r.Step(Event{Kind: Received, Msg: m}, g.now)
		g.r.Step(Event{Kind: Validated, Msg: m, Verdict: Verdict{Action: TurnAway, Reason: "full"}}, g.now)
	}
	check(t, g.r)
	if v := g.counts("t"); v.Forgotten != 10 || g.r.topics["t"].retry.order.Len() != maxRetry {
		t.Errorf("%d forgotten", v.Forgotten)
	}
	g.now = g.now.Add(askAfter)
	g.drain()
	g.step(Event{Kind: Wake})
	if c := said(g.drain(), name(0)); len(c.Want) != maxAsk {
		t.Errorf("%d asked for at once", len(c.Want))
	}
}

func TestSeenIsBoundedInTimeAndNumber(t *testing.T) {
	g := crowd(t, 1, 1, func(c *Config) { c.MaxSeen = 10 })
	for i := range 15 {
		g.accept(name(0), "t", fmt.Sprint(i), 1)
	}
	if g.r.Known([]byte("4")) || !g.r.Known([]byte("5")) {
		t.Error("not the oldest are forgotten")
	}
	g.pass(g.r.cfg.SeenTTL + 2*time.Second)
	if len(g.r.book) != 0 {
		t.Errorf("%d remembered", len(g.r.book))
	}
}

// What is kept to be served is bounded by bytes.
func TestHistoryBytes(t *testing.T) {
	g := crowd(t, 2, 2, func(c *Config) { c.HistoryBytes = 10_000 })
	for i := range 30 {
		g.accept(name(0), "t", fmt.Sprint(i), 1000)
	}
	if g.r.kept > 10_000 {
		t.Errorf("%d bytes kept", g.r.kept)
	}
	// Whoever says more must not pass over all that was let go.
	for _, e := range g.r.history[0].kept() {
		if e.msg == nil {
			t.Errorf("%s is passed over again", e.id)
		}
	}
	g.drain()
	g.want(name(1), "0", "29")
	if es := g.drain(); len(sent(es, "0")) != 0 || len(sent(es, "29")) != 1 {
		t.Errorf("%+v", es)
	}
}

// A message costs the same whether or not the history is full.
//
//	go test ./internal/gossip/router -run xxx -bench FullHistory
func BenchmarkFullHistory(b *testing.B) {
	for _, most := range []int{4 << 20, 1 << 30} {
		b.Run(fmt.Sprint(most>>20, "MiB"), func(b *testing.B) {
			g := newRig(b, func(c *Config) { c.HistoryBytes = most })
			g.every = 1 << 30 // without checks
			g.topic(testTopic("t"))
			g.member(name(0), true, "t")
			frame := make([]byte, 1<<10)
			for i := 0; b.Loop(); i++ {
				g.r.Step(Event{Kind: Publish, Msg: &Message{ID: fmt.Sprint(i), Topic: "t", Frame: frame, Data: frame}}, g.now)
			}
		})
	}
}

func TestPublish(t *testing.T) {
	g := newRig(t, nil)
	spec := testTopic("t")
	g.topic(spec)
	kinds := func() (ks []EffectKind) {
		for _, e := range g.drain() {
			ks = append(ks, e.Kind)
		}
		return ks
	}
	refused := func(want string) {
		t.Helper()
		es := g.drain()
		if len(es) != 1 || es[0].Kind != Refused || es[0].Reason != want {
			t.Errorf("want %q: %+v", want, es)
		}
	}
	g.publish("nope", "a", 1)
	refused(ReasonUnknown)
	for i := range 4 {
		g.publish("t", fmt.Sprint(i), 1)
		if ks := kinds(); !slices.Equal(ks, []EffectKind{Queued}) {
			t.Fatalf("%v", ks)
		}
	}
	g.publish("t", "0", 1)
	refused(ReasonDuplicate)
	g.publish("t", "5", 1)
	refused(ReasonFull)
	g.member("p", true, "t")
	es := g.drain()
	for i := range 4 {
		if to := sent(es, fmt.Sprint(i)); len(to) != 1 {
			t.Errorf("%d was sent to %v", i, to)
		}
	}
	m := g.publish("t", "6", 1)
	g.drain()
	g.step(Event{Kind: Withdraw, Msg: m}) // its queue was full
	g.publish("t", "6", 1)
	if to := sent(g.drain(), "6"); len(to) != 1 {
		t.Errorf("a message that nobody had is a duplicate: %v", to)
	}
	if v := g.counts("t"); v.Published != 5 || v.Queued != 4 || v.Waiting != 0 {
		t.Errorf("%+v", v)
	}
}

func TestPendingExpires(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	g.publish("t", "a", 1)
	g.pass(12 * time.Second)
	if v := g.counts("t"); v.Unsent != 1 || v.Waiting != 0 {
		t.Fatalf("%+v", v)
	}
	g.drain()
	g.publish("t", "a", 1)
	if es := g.drain(); es[0].Kind != Queued {
		t.Errorf("%+v", es)
	}
	never := testTopic("never")
	never.PeerWait = -1
	g.topic(never)
	g.publish("never", "b", 1)
	if es := g.drain(); es[0].Kind != Refused || es[0].Reason != ReasonNoPeers {
		t.Errorf("%+v", es)
	}
}

func TestExplicitRelay(t *testing.T) {
	g := newRig(t, nil)
	spec := testTopic("t")
	spec.ExplicitRelay = true
	g.topic(spec)
	g.member("a", true, "t")
	g.member("b", true, "t")
	g.pass(time.Second)
	m := g.say("a", "t", "m", 10)
	g.judge(m, Verdict{Action: Accept})
	es := g.drain()
	if len(sent(es, "m")) != 0 || g.counts("t").Delivered != 1 {
		t.Fatalf("%+v", es)
	}
	for range 2 {
		g.step(Event{Kind: Relay, Msg: m})
	}
	if to := sent(g.drain(), "m"); !slices.Equal(to, []peer.ID{"b"}) {
		t.Errorf("sent to %v", to)
	}
	if v := g.counts("t"); v.Relayed != 1 {
		t.Errorf("%+v", v)
	}
	g.want("b", "m")
	if to := sent(g.drain(), "m"); len(to) != 1 {
		t.Error("not served")
	}
}

func TestServing(t *testing.T) {
	g := crowd(t, 3, 3, nil)
	g.pass(time.Second)
	g.accept(name(0), "t", "m", 10)
	g.drain()
	for range 10 {
		g.want(name(1), "m")
	}
	if n := len(sent(g.drain(), "m")); n != 3 {
		t.Errorf("served %d times", n)
	}
	g.step(Event{Kind: Control, Peer: name(2), RPC: &rpc.RPC{DontWant: [][]byte{[]byte("m"), []byte("later")}}})
	g.drain()
	g.want(name(2), "m")
	g.accept(name(0), "t", "later", 10)
	es := g.drain()
	if len(sent(es, "m")) != 0 || slices.Contains(sent(es, "later"), name(2)) {
		t.Errorf("a peer is sent what it does not want: %+v", es)
	}
	g.pass(4 * time.Second)
	g.drain()
	g.want(name(2), "m")
	if n := len(sent(g.drain(), "m")); n != 1 {
		t.Errorf("a refusal lasts for ever: served %d times", n)
	}
	g.pass(10 * time.Second)
	g.drain()
	g.want(name(1), "later")
	if n := len(sent(g.drain(), "later")); n != 0 {
		t.Error("served for ever")
	}
}

func TestAnnouncing(t *testing.T) {
	g := crowd(t, 30, 30, func(c *Config) { c.Mesh.FloodPublish = false })
	g.pass(5 * time.Second)
	g.accept(name(0), "t", "m", 10)
	g.drain()
	g.pass(time.Second)
	told := 0
	mesh := g.counts("t").Mesh
	for _, e := range g.drain() {
		if e.Kind == Say && len(e.Control.Have) > 0 {
			told++
			if slices.Contains(mesh, e.Peer) {
				t.Errorf("%s is in the mesh and told", e.Peer)
			}
		}
	}
	if told != 6 {
		t.Errorf("%d told", told)
	}
}

// A peer outside the mesh is told of a message when it is new, and once more before it is
// announced no longer.
func TestAnnouncedTwice(t *testing.T) {
	g := crowd(t, 10, 10, func(c *Config) { c.Mesh.FloodPublish = false })
	g.pass(5 * time.Second)
	mesh := g.counts("t").Mesh
	outside := 0
	for outside < 10 && slices.Contains(mesh, name(outside)) {
		outside++
	}
	g.drain()
	for beat, want := range [][]string{{"m0"}, {"m1"}, nil, {"m0"}, {"m1", "m4"}, nil, nil, {"m4"}, nil} {
		if beat == 0 || beat == 1 || beat == 4 {
			g.accept(mesh[0], "t", fmt.Sprint("m", beat), 10)
		}
		g.pass(time.Second)
		var told []string
		for _, e := range g.drain() {
			if e.Kind == Say && e.Peer == name(outside) {
				for _, h := range e.Control.Have {
					told = append(told, h.IDs...)
				}
			}
		}
		if !slices.Equal(told, want) {
			t.Errorf("heartbeat %d: told %v, not %v", beat, told, want)
		}
	}
}

// A member that appears, or is grafted, is told what was said recently, once.
func TestGreeting(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	g.pass(time.Second)
	g.accept(name(0), "t", "before", 10)
	g.pass(2 * time.Second)
	g.accept(name(0), "t", "m", 10)
	g.drain()
	g.member("new", false, "t")
	if c := said(g.drain(), "new"); len(c.Have) != 1 || !slices.Equal(c.Have[0].IDs, []string{"before", "m"}) {
		t.Fatalf("%+v", c)
	}
	g.accept(name(0), "t", "between", 10)
	g.drain()
	for range 3 {
		g.graft("new", "t")
		g.prune("new", "t", 1)
		g.pass(1100 * time.Millisecond)
	}
	told := map[string]int{}
	for _, e := range g.drain() {
		if e.Kind == Say && e.Peer == "new" {
			for _, h := range e.Control.Have {
				for _, id := range h.IDs {
					told[id]++
				}
			}
		}
	}
	// While it is outside the mesh a heartbeat may be the first to tell it.
	if told["between"] < 1 || told["between"] > 2 || told["before"] > 1 || told["m"] > 1 {
		t.Errorf("told %v", told)
	}
	if v := g.counts("t"); v.Announced != 2 {
		t.Errorf("greeted with %d messages", v.Announced)
	}
}

// Foreigners may call messages by other names. Before they have shown that they do
// not, they are not told of any, nor asked.
func TestForeignNames(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Mesh.FloodPublish = false })
	open := testTopic("t")
	open.Open = true
	g.topic(open)
	g.member("a", true, "t")
	foreign := func(i int) peer.ID { return peer.ID(fmt.Sprint("foreign ", i)) }
	const peers = 20 // more than a mesh has
	for i := range peers {
		g.step(Event{Kind: Opened, Peer: foreign(i), Level: Refuse})
		g.step(Event{Kind: Heard, Peer: foreign(i)})
	}
	g.accept("a", "t", "before", 10)
	for i := range peers {
		g.subscribe(foreign(i), "t")
	}
	names := func() (told, asked int) {
		for _, e := range g.drain() {
			if e.Kind == Say && e.Peer != "a" {
				told += len(e.Control.Have) + len(e.Control.DontWant)
				asked += len(e.Control.Want)
			}
		}
		return told, asked
	}
	for i := range 10 {
		g.accept("a", "t", fmt.Sprint("ours ", i), 1<<20)
		for k := range peers {
			g.have(foreign(k), "t", fmt.Sprint("theirs ", k, i))
		}
		g.step(Event{Kind: Dropped, Peer: foreign(0), Msg: testMessage("a", "t", fmt.Sprint("ours ", i), 10)})
		g.pass(4 * time.Second)
	}
	if told, asked := names(); told+asked > 0 {
		t.Errorf("told of %d, asked for %d", told, asked)
	}
	for i := range peers {
		if s := g.r.Score(foreign(i)); s < 0 {
			t.Errorf("%s has %v", foreign(i), s)
		}
		g.have(foreign(i), "t", fmt.Sprint("theirs ", i), "ours 9")
	}
	if _, asked := names(); asked != peers {
		t.Errorf("%d of those who use the same names are asked", asked)
	}
	g.accept("a", "t", "another", 10)
	g.pass(time.Second)
	if told, _ := names(); told == 0 {
		t.Error("those who use the same names are not told")
	}
}

// What did not fit into a queue is announced.
func TestDroppedIsAnnounced(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	g.pass(time.Second)
	m := g.publish("t", "m", 10)
	g.step(Event{Kind: Dropped, Peer: name(0), Msg: m})
	g.drain()
	g.pass(time.Second)
	if c := said(g.drain(), name(0)); len(c.Have) != 1 || !slices.Equal(c.Have[0].IDs, []string{"m"}) {
		t.Errorf("%+v", c)
	}
	g.pass(3 * time.Second)
	if c := said(g.drain(), name(0)); len(c.Have) != 0 {
		t.Errorf("again and again: %+v", c)
	}
}
