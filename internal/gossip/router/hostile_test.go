package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/msgtype"
)

func idList(from, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%020d", from+i))
	}
	return ids
}

// Announcements of what there is not: at most 5,000 IDs of ten frames are asked for
// in a heartbeat, and promises that are broken are charged.
func TestHostileHaveSpam(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	p := name(0)
	g.drain()
	for i := range 20 {
		g.have(p, "t", idList(i*1000, 1000)...)
	}
	if c := said(g.drain(), p); len(c.Want) != maxAsked {
		t.Errorf("asked for %d", len(c.Want))
	}
	if s := g.r.Score(p); s != 0 {
		t.Errorf("charged before the promises are due: %v", s)
	}
	g.pass(time.Second)
	for i := range 20 {
		g.have(p, "t", fmt.Sprint("one ", i))
	}
	if c := said(g.drain(), p); len(c.Want) != maxHaveFrames {
		t.Errorf("%d frames were read", len(c.Want))
	}
	g.pass(4 * time.Second)
	if s := g.r.Score(p); s >= 0 {
		t.Errorf("promises are broken for nothing: %v", s)
	}
	g = crowd(t, 1, 1, nil)
	for range 2 {
		g.have(p, "t", idList(0, maxHave)...)
	}
	if !slices.ContainsFunc(g.drain(), func(e Effect) bool { return e.Kind == Faulted && e.Reason == FaultHave }) {
		t.Error("no fault")
	}
}

// A promise is kept if the message comes from anybody, in whatever condition.
func TestPromisesThatAreKept(t *testing.T) {
	for _, v := range []Verdict{{Action: Accept}, {Action: Reject}, {Action: TurnAway, Reason: "full"}} {
		g := crowd(t, 2, 2, nil)
		g.have(name(0), "t", "m")
		m := g.say(name(1), "t", "m", 10)
		g.judge(m, v)
		g.pass(5 * time.Second)
		if b := g.r.peers[name(0)].stats.behaviour; b != 0 {
			t.Errorf("%+v: charged %v", v, b)
		}
	}
}

func TestHostileWantSpam(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	p := name(0)
	for i := range 5 {
		g.want(p, idList(i*5000, 5000)...)
	}
	faults := 0
	for _, e := range g.drain() {
		if e.Kind == Faulted && e.Reason == FaultWant {
			faults++
		}
	}
	if faults != 1 || g.r.Score(p) >= 0 {
		t.Errorf("%d faults, score %v", faults, g.r.Score(p))
	}
}

// Refusals are remembered in a bounded number, and for three heartbeats.
func TestHostileRefusalSpam(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	p := name(0)
	refuse := func(frames, ids int) {
		for i := range frames {
			in := &rpc.RPC{}
			for k := range ids {
				in.DontWant = append(in.DontWant, fmt.Appendf(nil, "%d of %d", k, i))
			}
			g.r.Step(Event{Kind: Control, Peer: p, RPC: in}, g.now)
		}
	}
	for _, c := range []struct{ frames, ids, counted int }{{1, 20, maxRefused}, {maxRefusals + 100, 1, maxRefusals}} {
		refuse(c.frames, c.ids)
		if n := len(g.r.peers[p].refused); n != c.counted {
			t.Errorf("%d refusals are remembered of %d frames of %d", n, c.frames, c.ids)
		}
		g.pass(5 * time.Second)
	}
	for tick := range 10 {
		for i := range 1500 {
			in := &rpc.RPC{}
			for k := range 20 {
				in.DontWant = append(in.DontWant, fmt.Appendf(nil, "%d %d %d", tick, i, k))
			}
			g.r.Step(Event{Kind: Control, Peer: p, RPC: in}, g.now)
		}
		g.pass(time.Second)
		if n := len(g.r.peers[p].refused); n > maxRefusals*maxRefused {
			t.Fatalf("%d refusals remembered", n)
		}
	}
	g.pass(3 * time.Second)
	if n := len(g.r.peers[p].refused); n != 0 {
		t.Errorf("%d refusals remembered for ever", n)
	}
}

// A peer may know about 64 topics that are not declared here, each with a name of at
// most 512 bytes.
func TestHostileSubscriptions(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	p := name(0)
	for i := range 250 {
		in := &rpc.RPC{Subs: []rpc.Sub{{Topic: make([]byte, msgtype.MaxTopic+1), Subscribe: true}}}
		for k := range 4000 {
			in.Subs = append(in.Subs, rpc.Sub{Topic: fmt.Appendf(nil, "%d %d", i, k), Subscribe: true})
		}
		g.r.Step(Event{Kind: Control, Peer: p, RPC: in}, g.now)
	}
	if q := g.r.peers[p]; len(q.heard) != maxHeard || len(q.topics) != 1 {
		t.Errorf("%d topics and %d links remembered", len(q.heard), len(q.topics))
	}
	for range 5 {
		g.r.Step(Event{Kind: Control, Peer: p, RPC: &rpc.RPC{Subs: make([]rpc.Sub, MaxSubs+1)}}, g.now)
	}
	if g.r.Accepts(p) {
		t.Error("too many subscriptions at once are no fault")
	}
}

func TestHostileGrafts(t *testing.T) {
	g := crowd(t, 1, 1, nil)
	in := &rpc.RPC{}
	for range maxControl + 1 {
		in.Graft = append(in.Graft, []byte("t"))
	}
	g.step(Event{Kind: Control, Peer: name(0), RPC: in})
	if es := g.drain(); !slices.ContainsFunc(es, func(e Effect) bool { return e.Kind == Faulted && e.Reason == FaultControl }) {
		t.Errorf("%+v", es)
	}
	if len(g.counts("t").Mesh) != 0 {
		t.Error("the graft counts")
	}
}

// Peers that dialled this node cannot take the places of those that it dialled.
func TestHostileSybils(t *testing.T) {
	g := crowd(t, 10, 10, nil)
	g.pass(time.Second)
	for i := range 200 {
		id := peer.ID(fmt.Sprint("sybil", i))
		g.member(id, false, "t")
		g.graft(id, "t")
	}
	for range 300 {
		g.pass(time.Second)
		if i := g.r.rng.IntN(200); i >= 0 {
			g.graft(peer.ID(fmt.Sprint("sybil", i)), "t")
		}
	}
	honest := 0
	for _, id := range g.counts("t").Mesh {
		if id[0] == 'p' {
			honest++
		}
	}
	if honest < g.r.cfg.Mesh.Dout {
		t.Errorf("%d of the peers that this node dialled are left in the mesh", honest)
	}
}

// A covert flash: peers behave well, and then bring nothing. They lose their places
// to those that do.
func TestHostileCovertFlash(t *testing.T) {
	g := newRig(t, nil)
	spec := testTopic("t")
	w := &spec.Score
	w.DeliveryThreshold, w.DeliveryCap, w.DeliveryGrace, w.DeliveryWindow = 30, 120, time.Minute, 100*time.Millisecond
	w.DeliveryWeight = -80. / (30 * 30)
	g.topic(spec)
	for i := range 12 {
		g.member(name(i), true, "t")
	}
	n := 0
	run := func(seconds int, from ...peer.ID) {
		for range seconds {
			for range 4 {
				n++
				for _, p := range from {
					g.accept(p, "t", fmt.Sprint(n), 10)
				}
			}
			g.pass(time.Second)
			g.drain()
		}
	}
	all := make([]peer.ID, 12)
	for i := range all {
		all[i] = name(i)
	}
	run(180, all...)
	mesh := g.counts("t").Mesh
	var honest []peer.ID
	for _, p := range all {
		if !slices.Contains(mesh, p) {
			honest = append(honest, p)
		}
	}
	run(600, honest...) // the whole mesh has turned
	left := 0
	for _, p := range g.counts("t").Mesh {
		if slices.Contains(mesh, p) {
			left++
		}
	}
	if left > 2 || len(honest) < 3 {
		t.Errorf("%d of the silent are left in the mesh, beside %d honest", left, len(honest))
	}
}

func TestColocation(t *testing.T) {
	g := crowd(t, 12, 0, func(c *Config) { c.Score.ColocationWeight, c.Score.ColocationFree = -10, 8 })
	for i := range 12 {
		g.step(Event{Kind: Addrs, Peer: name(i), Names: []string{"192.0.2.1"}})
	}
	if s := g.r.Score(name(0)); s != -160 {
		t.Errorf("twelve of one address: %v", s)
	}
	for i := range 4 {
		g.step(Event{Kind: Addrs, Peer: name(i), Names: []string{fmt.Sprint("192.0.2.", 2+i)}})
	}
	if a, b := g.r.Score(name(0)), g.r.Score(name(11)); a != 0 || b != 0 {
		t.Errorf("eight of one address: %v, %v", a, b)
	}
}

// Each cause shows in its own part of the score, and the parts add up to it.
func TestScoreParts(t *testing.T) {
	g := crowd(t, 12, 0, func(c *Config) { c.Score.ColocationWeight, c.Score.ColocationFree = -10, 8 })
	for i := range 12 {
		g.step(Event{Kind: Addrs, Peer: name(i), Names: []string{"192.0.2.1"}})
	}
	g.step(Event{Kind: AppScore, Peer: name(0), Value: 7})
	p := g.r.peers[name(0)]
	p.stats.behaviour, p.stats.faults, p.stats.ignored, p.stats.useful = 8, 2, 84, 5
	p.topicPeer(p.topics[0].t).stats.first = 10
	g.r.rescoreAll(p)
	want := ScoreParts{Topics: 5, App: 7, Colocation: -160, Behaviour: -40, Faults: -40, Ignored: -2.5}
	g.r.Peers(func(v PeerView) bool {
		if v.ID == p.ID && (v.Parts != want || v.Score != -230.5) {
			t.Errorf("score %v of %+v, want -230.5 of %+v", v.Score, v.Parts, want)
		}
		if v.Parts.sum() != v.Score {
			t.Errorf("%s: %+v add up to %v, not %v", v.ID, v.Parts, v.Parts.sum(), v.Score)
		}
		return true
	})
}

// A bad score outlives the connection unchanged, a good one does not.
func TestScoreRetention(t *testing.T) {
	g := crowd(t, 2, 2, nil)
	for i := range 4 {
		g.judge(g.say(name(0), "t", fmt.Sprint("bad", i), 1), Verdict{Action: Reject})
		g.accept(name(1), "t", fmt.Sprint("good", i), 1)
	}
	bad := g.r.Score(name(0))
	for _, p := range []peer.ID{name(0), name(1)} {
		g.step(Event{Kind: Closed, Peer: p})
		g.step(Event{Kind: Silent, Peer: p})
	}
	g.pass(5 * time.Minute)
	for i := range 2 {
		g.member(name(i), true, "t")
	}
	if s := g.r.Score(name(0)); s != bad {
		t.Errorf("%v became %v", bad, s)
	}
	if s := g.r.Score(name(1)); s != 0 {
		t.Errorf("a good score was kept: %v", s)
	}
}

// The formulas of the specification, with round numbers.
func TestTopicScore(t *testing.T) {
	w := TopicScore{
		Weight: 1, MeshTimeWeight: 2, MeshTimeCap: 5, FirstWeight: 3,
		DeliveryWeight: -1, DeliveryThreshold: 10, FailureWeight: -0.5, InvalidWeight: -2,
	}
	at := time.Unix(100, 0)
	for _, c := range []struct {
		s    topicStats
		want float64
	}{
		{topicStats{}, 0},
		{topicStats{inMesh: true, since: at.Add(-3900 * time.Millisecond)}, 6},
		{topicStats{inMesh: true, since: at.Add(-time.Minute)}, 10},
		{topicStats{first: 4}, 12},
		{topicStats{active: true, delivered: 7}, -9},
		{topicStats{active: true, delivered: 11}, 0},
		{topicStats{delivered: 7}, 0},
		{topicStats{failed: 9}, -4.5},
		{topicStats{invalid: 3}, -18},
	} {
		if v := c.s.value(&w, at); v != c.want {
			t.Errorf("%+v: %v", c.s, v)
		}
	}
	s := topicStats{inMesh: true, active: true, delivered: 7}
	if s.pruned(&w); s.failed != 9 || s.inMesh {
		t.Errorf("%+v", s)
	}
}

// TestRandomEvents throws events at a router that nobody sane would send, and holds
// check after each.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 6000)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		play(t, data)
	}
}

func FuzzStep(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 4 {
		data := make([]byte, 300)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { play(t, data) })
}

// play reads events out of bytes, with few names so that they meet.
func play(t testing.TB, data []byte) {
	g := newRig(t, func(c *Config) { c.MaxSeen, c.HistoryBytes, c.Mesh.DontWantAbove = 20, 2000, 100 })
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	topic := func() string { return string(rune('a' + next()%3)) }
	id := func() string { return string(rune('0' + next()%40)) }
	var out []*Message // being validated
	var known []*Message
	for _, n := range []string{"a", "b", "c"} {
		spec := testTopic(n)
		spec.Inline, spec.Open, spec.ExplicitRelay = n == "a", n == "b", n == "c"
		g.topic(spec)
	}
	// A shell sends Opened and Closed in turn; the router may rely on that.
	open := make(map[peer.ID]bool)
	for len(data) > 0 {
		p := name(int(next() % 12))
		switch kind := next() % 32; kind {
		case 0, 1:
			g.now = g.now.Add(time.Duration(next()) * 10 * time.Millisecond)
		case 2:
			g.step(Event{Kind: Tick})
		case 3:
			g.step(Event{Kind: Wake})
		case 4, 5, 6:
			g.step(Event{Kind: Opened, Peer: p, Level: Level(next() % 5), On: next()%2 == 0})
			open[p] = true
		case 7:
			if open[p] {
				g.step(Event{Kind: Closed, Peer: p})
				delete(open, p)
			}
		case 8:
			g.step(Event{Kind: Heard, Peer: p})
		case 9:
			g.step(Event{Kind: Silent, Peer: p})
		case 10, 11:
			g.step(Event{Kind: Member, Peer: p, On: next()%4 > 0})
		case 12:
			g.step(Event{Kind: Direct, Peer: p, On: next()%2 == 0})
		case 13:
			g.step(Event{Kind: AppScore, Peer: p, Value: float64(int8(next()))})
		case 14, 15, 16:
			in := &rpc.RPC{Subs: []rpc.Sub{{Topic: []byte(topic()), Subscribe: next()%4 > 0}}}
			g.step(Event{Kind: Control, Peer: p, RPC: in})
		case 17, 18:
			g.graft(p, topic())
		case 19:
			g.prune(p, topic(), uint64(next()))
		case 20:
			g.have(p, topic(), id(), id())
		case 21:
			g.want(p, id(), id())
		case 22:
			g.step(Event{Kind: Control, Peer: p, RPC: &rpc.RPC{DontWant: [][]byte{[]byte(id())}, Extensions: next() > 250}})
		case 23, 24, 25, 26:
			// As a shell does, and sometimes not: two readers may meet.
			m := testMessage(p, topic(), id(), int(next()))
			if g.r.Known([]byte(m.ID)) && next()%4 > 0 {
				g.step(Event{Kind: Copy, Peer: p, Topic: m.Topic, ID: []byte(m.ID)})
			} else {
				g.step(Event{Kind: Received, Msg: m})
			}
			known = append(known, m)
		case 27:
			g.publish(topic(), id(), int(next()))
		case 28:
			g.step(Event{Kind: []Kind{Join, Leave, Retract, Resume, Forged}[next()%5], Topic: topic(), Key: topic(), Peer: p})
			for _, n := range []string{"a", "b", "c"} {
				spec := testTopic(n)
				spec.Inline, spec.Open, spec.ExplicitRelay = n == "a", n == "b", n == "c"
				g.step(Event{Kind: Declare, Spec: &spec})
			}
		case 29:
			if len(known) > 0 {
				m := known[int(next())%len(known)]
				g.step(Event{Kind: []Kind{Relay, Withdraw, Dropped}[next()%3], Peer: p, Msg: m})
			}
			g.full(p, next()%2 == 0)
			g.load(p, float64(next()), time.Duration(next())*time.Millisecond)
		default:
			if len(out) > 0 {
				i := int(next()) % len(out)
				m := out[i]
				out = slices.Delete(out, i, i+1)
				g.judge(m, Verdict{Action: Action(next() % 7), Key: topic(), Reason: "full"})
			}
		}
		for _, e := range g.drain() {
			if e.Kind == Validate || e.Kind == ValidateNow {
				out = append(out, e.Msg)
			}
		}
	}
	// Every message that is being validated is known to the shell.
	judged := make(map[*Message]bool)
	for _, m := range out {
		judged[m] = true
	}
	for _, e := range g.r.book {
		if e.state == validating && !judged[e.msg] {
			t.Fatalf("%q is judged by nobody", e.id)
		}
	}
}
