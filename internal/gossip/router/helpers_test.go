package router

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

func testConfig() Config {
	decay := func(d time.Duration) float64 { return math.Pow(decayToZero, 1/d.Seconds()) }
	return Config{
		Self: "self",
		Mesh: MeshParams{
			D: 6, Dlo: 5, Dhi: 11, Dscore: 4, Dout: 2, Dlazy: 6, GossipFactor: 0.25,
			Heartbeat: time.Second, HistoryLength: 6, HistoryGossip: 4,
			FloodPublish: true, DontWantAbove: 64 << 10,
			PruneBackoff: time.Minute, MaxBackoff: time.Hour, UnsubscribeBackoff: 10 * time.Second,
			FanoutTTL: time.Minute, Retransmission: 3, OpportunisticTicks: 60, OpportunisticPeers: 2,
		},
		Score: ScoreParams{
			GossipThreshold: -10, PublishThreshold: -40, GraylistThreshold: -80,
			AcceptExchange: 0, OpportunisticThreshold: 1, TopicCap: 50,
			BehaviourWeight: -10, BehaviourFree: 6, BehaviourDecay: decay(10 * time.Minute),
			FaultWeight: -20, FaultDecay: math.Exp2(-1. / 120), Retain: 10 * time.Minute,
		},
		SeenTTL: 2 * time.Minute, MaxSeen: 1 << 16, HistoryBytes: 64 << 20,
		Pending: 4, PendingBytes: 1 << 20,
		Parked: 6, ParkedBytes: 1000, ParkedPerPeer: 4, ParkedPerKey: 3,
	}
}

func testTopic(name string) TopicSpec {
	decay := func(d time.Duration) float64 { return math.Pow(decayToZero, 1/d.Seconds()) }
	return TopicSpec{
		Name: name, Inline: true, Concurrency: 4, Queue: 4, Deadline: 10 * time.Second,
		ParkTime: time.Minute, PeerWait: 10 * time.Second,
		Score: TopicScore{
			Weight: 1, MeshTimeWeight: 0.01, MeshTimeCap: 300,
			FirstWeight: 0.5, FirstDecay: decay(10 * time.Minute), FirstCap: 20,
			DeliveryDecay: decay(2 * time.Minute), FailureDecay: decay(2 * time.Minute),
			InvalidWeight: -10, InvalidDecay: decay(10 * time.Minute),
		},
	}
}

// rig is a router with a clock of its own.
type rig struct {
	t            testing.TB
	r            *Router
	now          time.Time
	out          []Effect // since drain
	steps, every int      // check is held after every so many steps; 0 is 1
}

func newRig(t testing.TB, edit func(*Config)) *rig {
	t.Helper()
	cfg := testConfig()
	if edit != nil {
		edit(&cfg)
	}
	return &rig{t: t, r: New(cfg, rand.New(rand.NewPCG(1, 2))), now: time.Unix(1000, 0)}
}

func (g *rig) step(ev Event) []Effect {
	es := g.r.Step(ev, g.now)
	g.out = append(g.out, es...)
	if g.steps++; g.steps%max(g.every, 1) == 0 {
		check(g.t, g.r)
	}
	return es
}

// drain returns what was to be done since the last call.
func (g *rig) drain() []Effect {
	out := g.out
	g.out = nil
	return out
}

// pass lets time pass, with a heartbeat each second.
func (g *rig) pass(d time.Duration) {
	end := g.now.Add(d)
	for g.now.Before(end) {
		next := g.now.Truncate(time.Second).Add(time.Second)
		if w := g.r.Wake(); !w.IsZero() && w.Before(next) {
			if w.After(end) {
				break
			}
			g.now = later(w, g.now)
			g.step(Event{Kind: Wake})
			continue
		}
		if next.After(end) {
			break
		}
		g.now = next
		g.step(Event{Kind: Tick})
	}
	g.now = later(g.now, end)
}

func (g *rig) topic(spec TopicSpec) {
	g.step(Event{Kind: Declare, Spec: &spec})
	g.step(Event{Kind: Join, Topic: spec.Name})
}

// member is a member with streams both ways that takes part in the topics.
func (g *rig) member(id peer.ID, dialled bool, topics ...string) {
	g.step(Event{Kind: Member, Peer: id, On: true})
	g.step(Event{Kind: Opened, Peer: id, Level: Extend, On: dialled})
	g.step(Event{Kind: Heard, Peer: id})
	g.subscribe(id, topics...)
}

func (g *rig) subscribe(id peer.ID, topics ...string) {
	in := &rpc.RPC{}
	for _, t := range topics {
		in.Subs = append(in.Subs, rpc.Sub{Topic: []byte(t), Subscribe: true})
	}
	g.step(Event{Kind: Control, Peer: id, RPC: in})
}

func (g *rig) graft(id peer.ID, topic string) {
	g.step(Event{Kind: Control, Peer: id, RPC: &rpc.RPC{Graft: [][]byte{[]byte(topic)}}})
}

func (g *rig) prune(id peer.ID, topic string, seconds uint64) {
	g.step(Event{Kind: Control, Peer: id, RPC: &rpc.RPC{Prune: []rpc.Prune{{Topic: []byte(topic), Backoff: seconds}}}})
}

func (g *rig) have(id peer.ID, topic string, ids ...string) {
	h := rpc.Have{Topic: []byte(topic)}
	for _, id := range ids {
		h.IDs = append(h.IDs, []byte(id))
	}
	g.step(Event{Kind: Control, Peer: id, RPC: &rpc.RPC{Have: []rpc.Have{h}}})
}

func (g *rig) want(id peer.ID, ids ...string) {
	in := &rpc.RPC{}
	for _, id := range ids {
		in.Want = append(in.Want, []byte(id))
	}
	g.step(Event{Kind: Control, Peer: id, RPC: in})
}

func testMessage(from peer.ID, topic, id string, size int) *Message {
	m := rpc.Message{Topic: []byte(topic), Data: make([]byte, size)}
	frame, own := rpc.Encode(&m)
	return &Message{ID: id, Topic: topic, From: from, Frame: frame, Data: own.Data}
}

// say has a peer send a message as a shell would pass it on.
func (g *rig) say(from peer.ID, topic, id string, size int) *Message {
	if g.r.Known([]byte(id)) {
		g.step(Event{Kind: Copy, Peer: from, Topic: topic, ID: []byte(id)})
		return nil
	}
	m := testMessage(from, topic, id, size)
	g.step(Event{Kind: Received, Msg: m})
	return m
}

// accept says and accepts a message.
func (g *rig) accept(from peer.ID, topic, id string, size int) {
	if m := g.say(from, topic, id, size); m != nil {
		g.judge(m, Verdict{Action: Accept})
	}
}

func (g *rig) judge(m *Message, v Verdict) { g.step(Event{Kind: Validated, Msg: m, Verdict: v}) }

func (g *rig) publish(topic, id string, size int) *Message {
	m := testMessage("", topic, id, size)
	g.step(Event{Kind: Publish, Msg: m})
	return m
}

func (g *rig) counts(topic string) TopicView {
	v, _ := g.r.Topic(topic)
	return v
}

// sent returns to whom a message was sent.
func sent(es []Effect, id string) (to []peer.ID) {
	for _, e := range es {
		if e.Kind == Send && e.Msg.ID == id {
			to = append(to, e.Peer)
		}
	}
	return to
}

// said gathers what a peer was told.
func said(es []Effect, id peer.ID) (c rpc.Control) {
	for _, e := range es {
		if e.Kind == Say && e.Peer == id {
			c.Merge(e.Control)
		}
	}
	return c
}

func judgedIDs(es []Effect) (ids []string) {
	for _, e := range es {
		if e.Kind == Validate || e.Kind == ValidateNow {
			ids = append(ids, e.Msg.ID)
		}
	}
	return ids
}

func name(i int) peer.ID { return peer.ID(fmt.Sprintf("p%02d", i)) }

// check holds what must be true after every step.
func check(t testing.TB, r *Router) {
	t.Helper()
	bad := func(format string, args ...any) { t.Fatalf(format, args...) }
	if len(r.peers) != len(r.order) || len(r.topics) != len(r.list) || len(r.speakers) != 0 {
		bad("books differ: %d and %d peers, %d and %d topics, %d speakers", len(r.peers), len(r.order), len(r.topics), len(r.list), len(r.speakers))
	}
	for _, e := range r.out {
		if e.Kind == Send || e.Kind == Say || e.Kind == Cancel {
			if p := r.peers[e.Peer]; p == nil || !p.out {
				bad("an effect for %s, which is gone", e.Peer)
			}
		}
	}
	full := 0
	for _, p := range r.order {
		if s := &p.pressure; s.full && !s.slow {
			full++
		}
		if s := &p.pressure; s.full && !p.out || s.slow && !s.full || s.used > patience || s.used < 0 {
			bad("%s: %+v, stream %v", p.ID, s, p.out)
		}
	}
	if full != r.fullPeers {
		bad("%d peers are full, counted %d", full, r.fullPeers)
	}
	crowded := 0
	for _, tp := range r.list {
		if s := &tp.pressure; s.full && !s.slow {
			crowded++
		}
		checkTopic(tp, bad)
	}
	if crowded != r.fullTopics {
		bad("%d topics are full, counted %d", crowded, r.fullTopics)
	}
	checkBook(r, bad)
}

func checkTopic(t *Topic, bad func(string, ...any)) {
	for _, tp := range t.mesh {
		if !tp.mesh || tp.t != t || !tp.p.out || tp.p.gone || tp.p.direct || !t.allows(tp.p) || !t.joined {
			bad("%s is in the mesh of %s: %+v", tp.p.ID, t.spec.Name, tp)
		}
	}
	for _, tp := range t.peers {
		if !tp.subscribed || tp.p.gone {
			bad("%s is listed in %s", tp.p.ID, t.spec.Name)
		}
	}
	q := &t.queue
	running, waits := 0, 0
	for _, s := range q.senders {
		running += s.running
		waits += s.waiting
		own := 0
		for _, e := range s.queue {
			if !e.live.placed {
				own++
			}
			if e.state != waiting || e.live.sender != s {
				bad("%s waits for a slot in state %d", e.id, e.state)
			}
		}
		if own != s.waiting {
			bad("%s: %d wait, counted %d", s.p.ID, own, s.waiting)
		}
		if s.running == 0 && len(s.queue) == 0 {
			bad("%s has a place and nothing in it", s.p.ID)
		}
	}
	if running != q.running || waits != q.waiting || q.running < 0 {
		bad("%s: %d run and %d wait, counted %d and %d", t.spec.Name, running, waits, q.running, q.waiting)
	}
	if len(t.retry.at) != t.retry.order.Len() || t.retry.order.Len() > maxRetry {
		bad("%d and %d away", len(t.retry.at), t.retry.order.Len())
	}
}

func checkBook(r *Router, bad func(string, ...any)) {
	kept, parked, bytes := 0, 0, 0
	open := 0
	for id, e := range r.book {
		if e.id != id || e.state == dead {
			bad("%q is %q, %d in the book", id, e.id, e.state)
		}
		final := e.state == accepted || e.state == awaitsRelay || e.state == rejected || e.state == ignored
		if final != (e.live == nil) {
			bad("%q in state %d: open %v", id, e.state, e.live != nil)
		}
		if !final {
			open++
		}
		if e.said > 0 && e.msg != nil {
			kept += len(e.msg.Frame)
		}
		if e.live != nil && e.live.placed {
			parked++
			bytes += len(e.msg.Data)
		}
		if (e.state == retryable) != (e.topic.retry.at[e] != nil) {
			bad("%q in state %d is among the turned away: %v", id, e.state, e.topic.retry.at[e] != nil)
		}
		if e.topic != r.topics[e.topic.spec.Name] {
			bad("%q is of a topic that was retracted", id)
		}
	}
	k := &r.deferrals
	if kept != r.kept || kept > r.cfg.HistoryBytes && kept > 16<<20 {
		bad("%d bytes kept, counted %d", kept, r.kept)
	}
	if parked != k.total || bytes != k.bytes || k.total > r.cfg.Parked || k.bytes > r.cfg.ParkedBytes {
		bad("%d deferred with %d bytes, counted %d and %d", parked, bytes, k.total, k.bytes)
	}
	if len(r.book)-open > r.cfg.MaxSeen {
		bad("%d messages remembered", len(r.book))
	}
}
