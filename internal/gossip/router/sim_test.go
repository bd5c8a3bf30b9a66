package router

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// sim is a network of routers in one goroutine, in time of its own. The same seed
// gives the same run.
type sim struct {
	t     testing.TB
	now   time.Time
	rng   *rand.Rand
	nodes []*simNode
	queue simQueue
	seq   int
	conns int // made so far

	sends, control, repeats int
}

// simNode is one router and what a shell would know.
type simNode struct {
	id    peer.ID
	r     *Router
	peers map[peer.ID]simConn
	got   map[string]time.Time
	down  bool
	wake  time.Time
}

// simConn is one end of a connection. Both ends have the same number; an end whose
// other one is gone is there until its node notices.
type simConn struct{ node, number int }

// happening is something that is due at a time.
type happening struct {
	at  time.Time
	seq int
	do  func()
}

type simQueue []happening

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, k int) bool {
	if !q[i].at.Equal(q[k].at) {
		return q[i].at.Before(q[k].at)
	}
	return q[i].seq < q[k].seq
}
func (q simQueue) Swap(i, k int) { q[i], q[k] = q[k], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(happening)) }
func (q *simQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

const simLatency = 50 * time.Millisecond

// newSim makes n nodes with about degree connections each, in one topic.
func newSim(t testing.TB, seed uint64, n, degree int, edit func(*Config)) *sim {
	s := &sim{t: t, now: time.Unix(1000, 0), rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range n {
		cfg := testConfig()
		if edit != nil {
			edit(&cfg)
		}
		cfg.Self = peer.ID(fmt.Sprintf("n%04d", i))
		node := &simNode{
			id: cfg.Self, r: New(cfg, rand.New(rand.NewPCG(seed, uint64(i)+2))),
			peers: make(map[peer.ID]simConn), got: make(map[string]time.Time),
		}
		s.nodes = append(s.nodes, node)
		spec := testTopic("t")
		s.step(i, Event{Kind: Declare, Spec: &spec})
		s.step(i, Event{Kind: Join, Topic: "t"})
		s.after(time.Duration(s.rng.Int64N(int64(time.Second))), func() { s.tick(i) })
	}
	for i := range n {
		s.dial(i, degree/2)
	}
	return s
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, happening{s.now.Add(d), s.seq, do})
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		h := heap.Pop(&s.queue).(happening)
		s.now = h.at
		h.do()
	}
	s.now = end
}

func (s *sim) tick(i int) {
	s.step(i, Event{Kind: Tick})
	s.after(time.Second, func() { s.tick(i) })
}

func (s *sim) dial(i, k int) {
	for _, j := range s.rng.Perm(len(s.nodes)) {
		if k == 0 {
			return
		}
		if _, known := s.nodes[i].peers[s.nodes[j].id]; j != i && !known && !s.nodes[j].down {
			k--
			s.connect(i, j)
		}
	}
}

func (s *sim) connect(i, j int) {
	s.conns++
	for _, side := range [][2]int{{i, j}, {j, i}} {
		a, b := s.nodes[side[0]], s.nodes[side[1]]
		s.hangUp(side[0], side[1]) // one that b has lost
		a.peers[b.id] = simConn{side[1], s.conns}
		s.step(side[0], Event{Kind: Member, Peer: b.id, On: true})
		s.step(side[0], Event{Kind: Heard, Peer: b.id})
		s.step(side[0], Event{Kind: Opened, Peer: b.id, Level: Extend, On: side[0] == i})
	}
}

func (s *sim) disconnect(i, j int) {
	s.hangUp(i, j)
	s.hangUp(j, i)
}

// hangUp ends i's side of its connection with j, if there is one.
func (s *sim) hangUp(i, j int) {
	a, b := s.nodes[i], s.nodes[j]
	if _, ok := a.peers[b.id]; !ok {
		return
	}
	delete(a.peers, b.id)
	s.step(i, Event{Kind: Closed, Peer: b.id})
	s.step(i, Event{Kind: Silent, Peer: b.id})
}

// step does what a shell would.
func (s *sim) step(i int, ev Event) {
	n := s.nodes[i]
	if n.down {
		return
	}
	effects := append([]Effect(nil), n.r.Step(ev, s.now)...)
	if w := n.r.Wake(); !w.IsZero() && !w.Equal(n.wake) {
		n.wake = w
		s.after(max(w.Sub(s.now), 0), func() { s.step(i, Event{Kind: Wake}) })
	}
	for _, e := range effects {
		switch e.Kind {
		case Send:
			s.sends++
			s.deliver(i, e.Peer, func(j int) { s.receive(j, n.id, e.Msg) })
		case Say:
			s.control++
			frames := rpc.AppendControl(nil, e.Control)
			s.deliver(i, e.Peer, func(j int) { s.read(j, n.id, frames) })
		case Validate, ValidateNow:
			if _, twice := n.got[e.Msg.ID]; twice {
				s.repeats++
			}
			n.got[e.Msg.ID] = s.now
			s.step(i, Event{Kind: Validated, Msg: e.Msg, Verdict: Verdict{Action: Accept}})
		}
	}
}

func (s *sim) deliver(i int, to peer.ID, do func(j int)) {
	s.after(simLatency, func() {
		if c, ok := s.nodes[i].peers[to]; ok && s.nodes[c.node].peers[s.nodes[i].id].number == c.number {
			do(c.node)
		}
	})
}

func (s *sim) receive(j int, from peer.ID, m *Message) {
	if s.nodes[j].r.Known([]byte(m.ID)) {
		s.step(j, Event{Kind: Copy, Peer: from, Topic: m.Topic, ID: []byte(m.ID)})
		return
	}
	own := *m
	own.From = from
	s.step(j, Event{Kind: Received, Msg: &own})
}

func (s *sim) read(j int, from peer.ID, frames []byte) {
	for len(frames) > 0 {
		size, k := binary.Uvarint(frames)
		r := new(rpc.RPC)
		if err := r.Decode(frames[k:k+int(size)], rpc.DefaultLimits()); err != nil {
			s.t.Fatal(err)
		}
		s.step(j, Event{Kind: Control, Peer: from, RPC: r})
		frames = frames[k+int(size):]
	}
}

func (s *sim) publish(i, k int) {
	s.step(i, Event{Kind: Publish, Msg: testMessage("", "t", fmt.Sprint("m", k), 100)})
}

// reach counts what each node has of the messages that i published with number k.
func (s *sim) missing(author, k int, count func(i int) bool) (n int) {
	for i, node := range s.nodes {
		if _, ok := node.got[fmt.Sprint("m", k)]; !ok && i != author && count(i) {
			n++
		}
	}
	return n
}

func (s *sim) copies() (delivered, duplicates int64) {
	for _, n := range s.nodes {
		v, _ := n.r.Topic("t")
		delivered += v.Delivered
		duplicates += v.Duplicates
	}
	return delivered, duplicates
}

// TestThousandNodes broadcasts in a network of 1,000.
func TestThousandNodes(t *testing.T) {
	nodes, messages := testkit.RaceOr(200, 1000), testkit.RaceOr(4, 10)
	s := newSim(t, 1, nodes, 10, nil)
	s.run(5 * time.Second)
	for k := range messages {
		s.publish(k*37, k)
		s.run(100 * time.Millisecond)
	}
	s.run(4 * time.Second)
	for k := range messages {
		if n := s.missing(k*37, k, func(int) bool { return true }); n > 0 {
			t.Errorf("message %d: %d nodes have it not", k, n)
		}
	}
	delivered, duplicates := s.copies()
	t.Logf("%.2f duplicates for each delivery", float64(duplicates)/float64(delivered))
	if duplicates > 6*delivered {
		t.Errorf("%d duplicates", duplicates)
	}
	for _, n := range s.nodes {
		check(t, n.r)
	}
}

// TestSimulationIsDeterministic runs the same twice.
func TestSimulationIsDeterministic(t *testing.T) {
	var runs [2][2]int
	for i := range runs {
		s := newSim(t, 5, 60, 10, nil)
		s.run(5 * time.Second)
		for k := range 10 {
			s.publish(k, k)
			s.run(300 * time.Millisecond)
		}
		s.run(10 * time.Second)
		runs[i] = [2]int{s.sends, s.control}
	}
	if runs[0] != runs[1] {
		t.Errorf("%v, then %v messages and frames of control", runs[0], runs[1])
	}
}

// TestChurnLosesNothing has nodes go and others come back all the time. Nodes that
// stay get everything.
func TestChurnLosesNothing(t *testing.T) {
	for seed := range uint64(2) {
		s := newSim(t, seed, 100, 10, nil)
		s.run(10 * time.Second)
		stable := func(i int) bool { return i >= 10 }
		for k := range 200 {
			if k%10 == 0 {
				v := k / 10 % 10 // crashes, and is back a second later
				s.crash(v)
				s.after(time.Second, func() { s.restart(v) })
			}
			s.publish(10+k%90, k)
			s.run(50 * time.Millisecond)
		}
		s.run(10 * time.Second)
		for k := range 200 {
			if n := s.missing(10+k%90, k, stable); n > 0 {
				t.Errorf("seed %d, message %d: %d nodes that stayed up have it not", seed, k, n)
			}
		}
	}
}

// neighbours are the nodes to which i has a connection, in order.
func (s *sim) neighbours(i int) (all []int) {
	for _, c := range s.nodes[i].peers {
		all = append(all, c.node)
	}
	slices.Sort(all)
	return all
}

func (s *sim) crash(i int) {
	for _, j := range s.neighbours(i) {
		s.disconnect(i, j)
	}
	s.nodes[i].down = true
}

func (s *sim) restart(i int) {
	n := s.nodes[i]
	cfg := n.r.cfg
	n.down, n.r = false, New(cfg, rand.New(rand.NewPCG(9, uint64(s.seq))))
	n.got = make(map[string]time.Time)
	spec := testTopic("t")
	s.step(i, Event{Kind: Declare, Spec: &spec})
	s.step(i, Event{Kind: Join, Topic: "t"})
	s.dial(i, 10)
}

// TestPartitionHeals splits the network; what was said in the last seconds crosses
// the line when it is one again.
func TestPartitionHeals(t *testing.T) {
	s := newSim(t, 3, 30, 10, nil)
	s.run(10 * time.Second)
	for i := range s.nodes {
		for _, j := range s.neighbours(i) {
			if i < j && i%2 != j%2 {
				s.disconnect(i, j)
			}
		}
	}
	for k := range 20 {
		s.publish(k, k)
		s.run(100 * time.Millisecond)
	}
	if n := s.missing(0, 0, func(i int) bool { return i%2 == 1 }); n != 15 {
		t.Fatalf("the partition leaks: %d", n)
	}
	for i := range s.nodes {
		s.dial(i, 3)
	}
	s.run(5 * time.Second)
	for k := range 20 {
		if n := s.missing(k, k, func(int) bool { return true }); n > 0 {
			t.Errorf("message %d: %d nodes have it not", k, n)
		}
	}
}

// TestEclipse has a node surrounded by hostile peers that dialled it and pass
// nothing on, beside two honest ones that it dialled: it hears everything.
func TestHostileEclipse(t *testing.T) {
	s := newSim(t, 4, 60, 10, nil)
	victim := 0
	for _, j := range s.neighbours(victim) {
		s.disconnect(victim, j)
	}
	s.connect(victim, 1)
	s.connect(victim, 2)
	for i := range 30 { // they take part and swallow what they are sent
		id := peer.ID(fmt.Sprint("hostile", i))
		s.step(victim, Event{Kind: Member, Peer: id, On: true})
		s.step(victim, Event{Kind: Heard, Peer: id})
		s.step(victim, Event{Kind: Opened, Peer: id, Level: Extend})
		in := &rpc.RPC{Subs: []rpc.Sub{{Topic: []byte("t"), Subscribe: true}}, Graft: [][]byte{[]byte("t")}}
		s.step(victim, Event{Kind: Control, Peer: id, RPC: in})
	}
	s.run(10 * time.Second)
	for k := range 50 {
		s.publish(10+k%50, k)
		s.run(100 * time.Millisecond)
	}
	s.run(5 * time.Second)
	for k := range 50 {
		if _, ok := s.nodes[victim].got[fmt.Sprint("m", k)]; !ok {
			t.Errorf("message %d was kept from it", k)
		}
	}
}

func BenchmarkThousandNodes(b *testing.B) {
	s := newSim(b, 1, 1000, 10, nil)
	s.run(10 * time.Second)
	k := 0
	b.ReportAllocs()
	for b.Loop() {
		s.publish(k%1000, k)
		s.run(10 * time.Millisecond)
		k++
	}
}
