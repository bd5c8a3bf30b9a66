package router

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// crowd is a rig in a topic with n members, the first dialled ones of which this
// node has dialled.
func crowd(t *testing.T, n, dialled int, edit func(*Config)) *rig {
	g := newRig(t, edit)
	g.topic(testTopic("t"))
	for i := range n {
		g.member(name(i), i < dialled, "t")
	}
	return g
}

func TestMeshHasDPeers(t *testing.T) {
	for n, want := range map[int]int{0: 0, 3: 3, 6: 6, 40: 6} {
		g := crowd(t, n, n/2, nil)
		g.pass(time.Second)
		if m := g.counts("t").Mesh; len(m) != want {
			t.Errorf("%d peers: mesh of %d", n, len(m))
		}
		grafted := 0
		for _, e := range g.drain() {
			if e.Kind == Say {
				grafted += len(e.Control.Graft)
			}
		}
		if grafted != want {
			t.Errorf("%d peers: %d grafts sent", n, grafted)
		}
	}
}

func TestMeshIsShrunk(t *testing.T) {
	g := crowd(t, 40, 0, nil)
	for i := range 40 {
		if i < 4 { // the best
			for k := range 5 {
				g.accept(name(i), "t", fmt.Sprint("m", i, k), 10)
			}
		}
	}
	g.member("out1", true, "t")
	g.member("out2", true, "t")
	for i := range 11 {
		g.graft(name(i), "t")
	}
	g.graft("out1", "t")
	g.graft("out2", "t")
	if n := len(g.counts("t").Mesh); n != 13 {
		t.Fatalf("mesh of %d: dialled peers may join above Dhi", n)
	}
	g.drain()
	g.graft(name(20), "t")
	if c := said(g.drain(), name(20)); len(c.Prune) != 1 {
		t.Fatalf("a graft of one that dialled us, above Dhi: %+v", c)
	}
	g.pass(time.Second)
	m := g.counts("t").Mesh
	if len(m) != 6 {
		t.Fatalf("mesh of %d", len(m))
	}
	for _, want := range []peer.ID{name(0), name(1), name(2), name(3), "out1", "out2"} {
		if !slices.Contains(m, want) {
			t.Errorf("%s is not among %v", want, m)
		}
	}
}

func TestDialledPeersAreGrafted(t *testing.T) {
	g := crowd(t, 10, 0, nil)
	g.pass(time.Second)
	g.member("out", true, "t")
	g.pass(time.Second)
	if m := g.counts("t").Mesh; !slices.Contains(m, "out") {
		t.Errorf("no dialled peer in the mesh: %v", m)
	}
}

func TestBackoff(t *testing.T) {
	g := crowd(t, 1, 0, nil)
	g.pass(time.Second)
	g.prune(name(0), "t", 20)
	g.drain()
	g.pass(20 * time.Second)
	if m := g.counts("t").Mesh; len(m) != 0 {
		t.Fatal("grafted again within the back-off")
	}
	g.pass(5 * time.Second)
	if m := g.counts("t").Mesh; len(m) != 1 {
		t.Fatal("not grafted again after the back-off")
	}
	// The largest number that there is.
	g.prune(name(0), "t", math.MaxUint64)
	g.pass(time.Hour - time.Minute)
	if m := g.counts("t").Mesh; len(m) != 0 {
		t.Error("a back-off of 2^64-1 seconds is none")
	}
	g.pass(2 * time.Minute)
	if m := g.counts("t").Mesh; len(m) != 1 {
		t.Error("a back-off of 2^64-1 seconds is longer than the longest")
	}
}

// A back-off outlives the connection, and grafts within it are charged.
func TestGraftDuringBackoff(t *testing.T) {
	g := crowd(t, 1, 0, nil)
	p := name(0)
	g.prune(p, "t", 60)
	g.step(Event{Kind: Closed, Peer: p})
	g.step(Event{Kind: Silent, Peer: p})
	g.pass(15 * time.Second)
	g.member(p, false, "t")
	g.drain()
	for i, behaviour := range []float64{1, 3, 5, 7, 9} {
		// The first comes late after the prune; each renews the back-off.
		g.graft(p, "t")
		if c := said(g.drain(), p); len(c.Prune) != 1 || c.Prune[0].Backoff != 60 || len(c.Graft) > 0 {
			t.Fatalf("graft %d: %+v", i, c)
		}
		if b := g.r.peers[p].stats.behaviour; b != behaviour {
			t.Errorf("graft %d: charged %v", i, b)
		}
	}
	if s := g.r.Score(p); s != -90 {
		t.Errorf("score %v", s)
	}
	g.graft(p, "t")
	if es := g.drain(); len(es) != 0 {
		t.Errorf("a graylisted peer is answered: %+v", es)
	}
}

func TestGraftOfUnknownTopicIsIgnored(t *testing.T) {
	g := crowd(t, 1, 0, nil)
	g.topic(testTopic("left"))
	g.step(Event{Kind: Leave, Topic: "left"})
	g.drain()
	for _, topic := range []string{"unknown", "left"} {
		g.graft(name(0), topic)
	}
	if es := g.drain(); len(es) != 0 {
		t.Errorf("answered: %+v", es)
	}
}

// A graft that comes before the stream to the peer takes no place in the mesh
// until there is one.
func TestEarlyGraft(t *testing.T) {
	g := crowd(t, 0, 0, nil)
	g.step(Event{Kind: Member, Peer: "p", On: true})
	g.step(Event{Kind: Heard, Peer: "p"})
	g.subscribe("p", "t")
	g.graft("p", "t")
	if m := g.counts("t").Mesh; len(m) != 0 {
		t.Fatal("in the mesh without a stream")
	}
	g.step(Event{Kind: Opened, Peer: "p", Level: Mesh})
	if m := g.counts("t").Mesh; len(m) != 1 {
		t.Fatal("its graft is forgotten")
	}
	g.step(Event{Kind: Closed, Peer: "p"})
	g.graft("p", "t")
	g.step(Event{Kind: Silent, Peer: "p"})
	if len(g.r.peers) != 0 {
		t.Error("remembered for a graft")
	}
}

func TestNegativeScoreIsPruned(t *testing.T) {
	g := crowd(t, 5, 5, nil)
	g.pass(time.Second)
	g.step(Event{Kind: AppScore, Peer: name(0), Value: -5})
	g.drain()
	g.pass(time.Second)
	if m := g.counts("t").Mesh; len(m) != 4 || slices.Contains(m, name(0)) {
		t.Fatalf("%v", m)
	}
	g.step(Event{Kind: AppScore, Peer: name(1), Value: -5})
	g.pass(time.Second)
	g.drain()
	g.graft(name(1), "t")
	if c := said(g.drain(), name(1)); len(c.Prune) != 1 || len(c.Prune[0].Peers) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestOpportunisticGrafting(t *testing.T) {
	g := crowd(t, 20, 0, nil)
	g.pass(time.Second)
	in := g.counts("t").Mesh
	// Nobody in the mesh brings anything; two outside do.
	better := 0
	for i := range 20 {
		if !slices.Contains(in, name(i)) && better < 2 {
			better++
			for k := range 10 {
				g.accept(name(i), "t", fmt.Sprint("m", i, k), 10)
			}
		}
	}
	g.pass(time.Minute)
	if m := g.counts("t").Mesh; len(m) != 8 {
		t.Errorf("mesh of %d", len(m))
	}
}

func TestJoinAndLeave(t *testing.T) {
	g := newRig(t, nil)
	spec := testTopic("t")
	g.step(Event{Kind: Declare, Spec: &spec})
	for i := range 10 {
		g.member(name(i), true, "t")
	}
	g.publish("t", "m", 10) // by way of the fanout
	if to := sent(g.drain(), "m"); len(to) != 10 {
		t.Fatalf("flooded to %d", len(to))
	}
	g.step(Event{Kind: Join, Topic: "t"})
	subs, grafts := 0, 0
	for _, e := range g.drain() {
		if e.Kind == Say {
			subs += len(e.Control.Subs)
			grafts += len(e.Control.Graft)
		}
	}
	if subs != 10 || grafts != 6 {
		t.Errorf("%d told, %d grafted", subs, grafts)
	}
	mesh := g.counts("t").Mesh
	g.step(Event{Kind: Leave, Topic: "t"})
	es := g.drain()
	for i := range 10 {
		c := said(es, name(i))
		in := slices.Contains(mesh, name(i))
		if len(c.Subs) != 1 || c.Subs[0].Subscribe || in != (len(c.Prune) == 1) || in && c.Prune[0].Backoff != 10 {
			t.Errorf("%s is told %+v", name(i), c)
		}
	}
	g.step(Event{Kind: Join, Topic: "t"})
	if m := g.counts("t").Mesh; len(m) != 4 {
		t.Errorf("%d grafted, of whom some were pruned just now", len(m))
	}
}

func TestFanout(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Mesh.FloodPublish = false })
	spec := testTopic("t")
	g.step(Event{Kind: Declare, Spec: &spec})
	for i := range 10 {
		g.member(name(i), true, "t")
	}
	g.publish("t", "a", 10)
	first := sent(g.drain(), "a")
	if len(first) != 6 {
		t.Fatalf("sent to %d", len(first))
	}
	g.pass(30 * time.Second)
	g.publish("t", "b", 10)
	if to := sent(g.drain(), "b"); !slices.Equal(to, first) {
		t.Errorf("%v, then %v", first, to)
	}
	g.step(Event{Kind: Closed, Peer: first[0]})
	g.pass(time.Second)
	if n := len(g.r.topics["t"].fanout); n != 6 {
		t.Errorf("fanout of %d after one has gone", n)
	}
	g.pass(2 * time.Minute)
	if n := len(g.r.topics["t"].fanout); n != 0 {
		t.Errorf("fanout of %d long after", n)
	}
}

// Recommended peers come from the topic, are good, and go to those that may be told.
func TestPeerExchange(t *testing.T) {
	g := crowd(t, 30, 0, func(c *Config) { c.Exchange = true; c.Score.AcceptExchange = 5 })
	g.step(Event{Kind: AppScore, Peer: name(29), Value: -1})
	for i := range 11 {
		g.graft(name(i), "t")
	}
	g.drain()
	g.pass(time.Second)
	for _, e := range g.drain() {
		if e.Kind != Say {
			continue
		}
		for _, p := range e.Control.Prune {
			if len(p.Peers) != 16 {
				t.Errorf("%d peers recommended", len(p.Peers))
			}
			for _, q := range p.Peers {
				if q.ID == string(name(29)) || q.ID == string(e.Peer) {
					t.Errorf("%s is recommended to %s", q.ID, e.Peer)
				}
			}
		}
	}
	from := g.counts("t").Mesh[0]
	for _, good := range []bool{false, true} {
		if good {
			g.step(Event{Kind: AppScore, Peer: from, Value: 10})
			from = g.counts("t").Mesh[1]
			g.step(Event{Kind: AppScore, Peer: from, Value: 10})
		}
		peers := []rpc.Peer{{ID: []byte("nobody")}, {ID: []byte("x"), Record: []byte("r")}}
		for range 2 { // the second time it is in no mesh any more
			g.step(Event{Kind: Control, Peer: from, RPC: &rpc.RPC{Prune: []rpc.Prune{{Topic: []byte("t"), Peers: peers}}}})
		}
		connect := 0
		for _, e := range g.drain() {
			if e.Kind == Connect && e.Peers[0].ID == "x" && string(e.Peers[0].Record) == "r" {
				connect++
			}
		}
		if good != (connect == 1) {
			t.Errorf("good %v: %d", good, connect)
		}
	}
}

func TestDirectPeers(t *testing.T) {
	g := crowd(t, 3, 3, func(c *Config) { c.Mesh.FloodPublish = false })
	g.pass(time.Second)
	g.step(Event{Kind: Direct, Peer: name(0), On: true})
	if c := said(g.drain(), name(0)); len(c.Prune) != 1 || slices.Contains(g.counts("t").Mesh, name(0)) {
		t.Fatalf("a direct peer stays in the mesh: %+v", c)
	}
	g.accept(name(1), "t", "m", 10)
	if to := sent(g.drain(), "m"); !slices.Contains(to, name(0)) || len(to) != 2 {
		t.Errorf("sent to %v", to)
	}
	g.step(Event{Kind: AppScore, Peer: name(0), Value: -1000})
	if !g.r.Accepts(name(0)) {
		t.Error("a direct peer is graylisted")
	}
	g.graft(name(0), "t")
	if c := said(g.drain(), name(0)); len(c.Prune) != 1 {
		t.Errorf("a graft of a direct peer: %+v", c)
	}
	g.step(Event{Kind: Direct, Peer: name(0)})
	if g.r.Accepts(name(0)) {
		t.Error("direct for ever")
	}
}

// Only members are told of, and heard in, closed topics.
func TestForeigners(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("closed"))
	open := testTopic("open")
	open.Open = true
	g.topic(open)
	g.step(Event{Kind: Opened, Peer: "f", Level: Refuse})
	g.step(Event{Kind: Heard, Peer: "f"})
	g.subscribe("f", "closed", "open", "later")
	c := said(g.drain(), "f")
	if len(c.Subs) != 1 || c.Subs[0].Topic != "open" {
		t.Fatalf("told of %+v", c.Subs)
	}
	g.pass(time.Second)
	if len(g.counts("closed").Mesh) != 0 || len(g.counts("open").Mesh) != 1 {
		t.Fatal("mesh")
	}
	g.graft("f", "closed")
	g.say("f", "closed", "m", 10)
	g.publish("closed", "own", 10)
	if es := g.drain(); len(judgedIDs(es)) > 0 || len(sent(es, "own")) > 0 || len(g.counts("closed").Mesh) != 0 {
		t.Errorf("a foreigner takes part: %+v", es)
	}
	if v := g.counts("closed"); v.Rejected != 1 {
		t.Errorf("%+v", v)
	}
	later := testTopic("later")
	later.Open = true
	g.topic(later)
	g.pass(time.Second)
	if len(g.counts("later").Mesh) != 1 {
		t.Error("what it said about a topic that was not declared yet is lost")
	}
	g.drain()
	g.step(Event{Kind: Member, Peer: "f", On: true})
	es := g.drain()
	if c := said(es, "f"); len(c.Subs) != 1 || c.Subs[0].Topic != "closed" {
		t.Errorf("a new member is told of %+v", c.Subs)
	}
	if len(sent(es, "own")) != 1 {
		t.Error("what waited for a first member was not sent")
	}
	g.pass(time.Second)
	g.step(Event{Kind: Member, Peer: "f"})
	if len(g.counts("closed").Mesh) != 0 || len(g.counts("open").Mesh) != 1 {
		t.Error("no member any more")
	}
}

// Peers of old protocols are told what they understand.
func TestLevels(t *testing.T) {
	g := newRig(t, func(c *Config) { c.Mesh.DontWantAbove = 1 })
	g.topic(testTopic("t"))
	for i, level := range []Level{FloodSub, Mesh, Exchange, Refuse, Extend} {
		g.step(Event{Kind: Member, Peer: name(i), On: true})
		g.step(Event{Kind: Opened, Peer: name(i), Level: level})
		g.step(Event{Kind: Heard, Peer: name(i)})
		g.subscribe(name(i), "t")
	}
	g.pass(time.Second)
	if m := g.counts("t").Mesh; len(m) != 4 || slices.Contains(m, name(0)) {
		t.Fatalf("mesh %v", m)
	}
	g.drain()
	g.accept("x", "t", "nobody", 10) // not a member
	g.member("x", false, "t")
	g.accept("x", "t", "m", 10)
	es := g.drain()
	if to := sent(es, "m"); len(to) != 5 {
		t.Errorf("sent to %v", to)
	}
	for i := range 5 {
		if c := said(es, name(i)); (i >= 3) != (len(c.DontWant) == 1) {
			t.Errorf("level %d: %+v", i, c)
		}
	}
	for i := 1; i < 5; i++ {
		g.step(Event{Kind: AppScore, Peer: name(i), Value: -1})
	}
	g.pass(time.Second)
	es = g.drain()
	for i := 1; i < 5; i++ {
		if c := said(es, name(i)); len(c.Prune) != 1 || (i >= 2) != (c.Prune[0].Backoff == 60) {
			t.Errorf("level %d: %+v", i, c)
		}
	}
}

// Copies to peers that call themselves old are as few as those to others.
func TestHostileFloodSubPeers(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	for i := range 38 {
		g.step(Event{Kind: Member, Peer: name(i), On: true})
		g.step(Event{Kind: Opened, Peer: name(i), Level: FloodSub})
		g.step(Event{Kind: Heard, Peer: name(i)})
		g.subscribe(name(i), "t")
	}
	g.publish("t", "m", 10)
	if n := len(sent(g.drain(), "m")); n != g.r.cfg.Mesh.Dhi {
		t.Errorf("%d copies", n)
	}
}

func TestExtensionsAreAnnouncedOnce(t *testing.T) {
	g := crowd(t, 1, 0, nil)
	for range 2 {
		g.step(Event{Kind: Control, Peer: name(0), RPC: &rpc.RPC{Extensions: true}})
	}
	if b := g.r.peers[name(0)].stats.behaviour; b != 10 {
		t.Errorf("charged %v", b)
	}
}

// What is remembered of peers without a stream is bounded, and forgotten.
func TestAbsentPeersAreForgotten(t *testing.T) {
	g := crowd(t, 0, 0, nil)
	for i := range maxAbsent + 100 {
		id := peer.ID(fmt.Sprint("bad", i))
		es := []Event{{Kind: Heard, Peer: id}, {Kind: Fault, Peer: id}, {Kind: Silent, Peer: id}}
		for _, ev := range es {
			g.r.Step(ev, g.now)
		}
	}
	g.step(Event{Kind: Heard, Peer: "good"})
	g.step(Event{Kind: Silent, Peer: "good"})
	g.pass(time.Second)
	if n := len(g.r.peers); n != maxAbsent {
		t.Errorf("%d remembered", n)
	}
	id := peer.ID(fmt.Sprint("bad", maxAbsent+99))
	if s := g.r.Score(id); s >= 0 {
		t.Errorf("the score of a bad peer is %v when it comes back", s)
	}
	g.pass(g.r.cfg.Score.Retain)
	if n := len(g.r.peers); n != 0 {
		t.Errorf("%d remembered for ever", n)
	}
}
