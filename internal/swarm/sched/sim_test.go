package sched

import (
	"container/heap"
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// The simulator plays States against each other, event by event, in one thread: the
// same seed has the same result. An uplink serves pieces of 16 KiB in turn over the
// neighbours, control first; a downlink is a queue; a connection has a window.

type role uint8

const (
	honest role = iota
	silent      // claims to have everything, and serves nothing
	liar        // claims to have everything, and serves something else
)

type simParams struct {
	n, degree, size  int
	bandwidth        float64 // bit/s
	noHeader         bool    // hop by hop
	silent, liar     float64
	slow             float64 // share of nodes with a fifth of the bandwidth
	messages         int     // one after the other, 10 s apart
	headerMS, wholMS float64
	push             bool // GossipSub with IDONTWANT in place of it
	// fifo has lines serve first come first served, control with the rest, and windows
	// that begin with 68 KiB and follow the delay, as package pacing has them.
	fifo bool
	// shared has at most 16 KiB of all links together wait in a line, those that are
	// ready in turn: what one budget for all connections of a host could do at best,
	// which would have to guess the line's rate.
	shared bool
}

func defaults() simParams {
	return simParams{n: 200, degree: 10, size: 1 << 20, bandwidth: 50e6, headerMS: 1, wholMS: 5, messages: 1}
}

const simWindow = 256 << 10

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type simHeap []simEvent

func (h simHeap) Len() int { return len(h) }
func (h simHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h simHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *simHeap) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *simHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// packet is a frame, or a piece of a chunk or of a whole message.
type packet struct {
	frame *wire.Frame
	bytes int
	last  bool // of its chunk

	l    *simLink // fifo
	left time.Duration
}

type simLink struct {
	from, to int
	back     *simLink
	delay    time.Duration
	control  []packet
	data     []packet // pieces
	ready    bool     // the State may have more
	inFlight int
	mesh     bool

	window  int // fifo
	steady  bool
	limited bool
	round   time.Duration
}

type simNode struct {
	id       peer.ID
	role     role
	s        *State
	out      []*simLink
	rate     float64 // bytes a second, up and down
	busy     bool
	turn     int
	line     []packet // fifo: what was handed to the line
	waits    int      // fifo: bytes of them
	next     int      // shared: whose turn it is
	downFree time.Duration
	wakeAt   time.Duration
	got      []time.Duration // by message
	sent     int64
	received int64
	hasMsg   map[int]bool // push
	noWant   map[[2]int]bool
	banned   map[peer.ID]bool
}

type sim struct {
	p     simParams
	rng   *rand.Rand
	now   time.Duration
	seq   int
	queue simHeap
	nodes []*simNode
	ids   map[peer.ID]int
	datas [][]byte
}

var simEpoch = time.Unix(1_000_000, 0)

func (s *sim) after(d time.Duration, f func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now + d, s.seq, f})
}

func newSim(p simParams, seed uint64) *sim {
	s := &sim{p: p, rng: rand.New(rand.NewPCG(seed, 7)), ids: make(map[peer.ID]int)}
	for i := range p.n {
		nd := &simNode{
			id: peer.ID("n" + strconv.Itoa(i)), rate: p.bandwidth / 8, got: make([]time.Duration, p.messages),
			hasMsg: map[int]bool{}, noWant: map[[2]int]bool{}, banned: map[peer.ID]bool{},
			s: New(Config{Memory: 64 << 20}, rand.New(rand.NewPCG(seed, uint64(i)+100))), wakeAt: -1,
		}
		switch x := s.rng.Float64(); {
		case i == 0:
		case x < p.silent:
			nd.role = silent
		case x < p.silent+p.liar:
			nd.role = liar
		}
		if i > 0 && s.rng.Float64() < p.slow {
			nd.rate /= 5
		}
		s.ids[nd.id] = i
		s.nodes = append(s.nodes, nd)
	}
	for m := range p.messages {
		data := make([]byte, p.size)
		data[0] = byte(m)
		s.datas = append(s.datas, data)
	}
	known := map[[2]int]bool{}
	for i := range p.n {
		for k := 0; k < p.degree/2; {
			j := s.rng.IntN(p.n)
			if i == j || known[[2]int{i, j}] {
				continue
			}
			known[[2]int{i, j}], known[[2]int{j, i}] = true, true
			d := 20*time.Millisecond + time.Duration(s.rng.Float64()*80e6)
			a, b := &simLink{from: i, to: j, delay: d, window: 68 << 10}, &simLink{from: j, to: i, delay: d, window: 68 << 10}
			a.back, b.back = b, a
			s.nodes[i].out = append(s.nodes[i].out, a)
			s.nodes[j].out = append(s.nodes[j].out, b)
			k++
		}
	}
	s.meshes()
	for _, nd := range s.nodes {
		s.step(nd, Event{Kind: Declare, Spec: &Spec{Type: "block", MaxSize: wire.MaxSize, Joined: true, Headers: true}})
		for _, l := range nd.out {
			s.step(nd, Event{Kind: Takes, Peer: s.nodes[l.to].id, Takes: map[string]int{"block": wire.MaxSize}})
			s.step(nd, Event{Kind: Path, Peer: s.nodes[l.to].id, RTT: 2 * l.delay})
		}
	}
	return s
}

// meshes picks at most eight links of each node, for the comparison with pushing.
func (s *sim) meshes() {
	count := make([]int, s.p.n)
	var all []*simLink
	for _, nd := range s.nodes {
		for _, l := range nd.out {
			if l.from < l.to {
				all = append(all, l)
			}
		}
	}
	s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, l := range all {
		if count[l.from] < 8 && count[l.to] < 8 || count[l.from] < 5 || count[l.to] < 5 {
			l.mesh, l.back.mesh = true, true
			count[l.from]++
			count[l.to]++
		}
	}
}

func (s *sim) link(nd *simNode, p peer.ID) *simLink {
	to := s.ids[p]
	for _, l := range nd.out {
		if l.to == to {
			return l
		}
	}
	return nil
}

// step has a node take an event, and does what it says.
func (s *sim) step(nd *simNode, ev Event) {
	for _, e := range nd.s.Step(ev, simEpoch.Add(s.now)) {
		switch e.Kind {
		case Say:
			l := s.link(nd, e.Peer)
			l.control = append(l.control, packet{frame: e.Frame, bytes: len(wire.Append(nil, e.Frame))})
		case Ready:
			s.link(nd, e.Peer).ready = true
		case Give:
			l := s.link(nd, e.Peer)
			for left := len(e.Frame.Data); left > 0; left -= wire.Piece {
				l.data = append(l.data, packet{frame: e.Frame, bytes: min(left, wire.Piece) + 8, last: left <= wire.Piece})
			}
		case Check:
			id := e.Msg.ID
			s.after(time.Duration(s.p.headerMS*1e6), func() { s.step(nd, Event{Kind: Checked, ID: id, Verdict: Accept}) })
		case Validate:
			m := e.Msg
			if i := int(m.Whole()[0][0]); nd.got[i] == 0 {
				nd.got[i] = s.now
			}
			s.after(time.Duration(s.p.wholMS*1e6), func() { s.step(nd, Event{Kind: Validated, ID: m.ID, Verdict: Accept}) })
		case Ban:
			nd.banned[e.Peer] = true
		}
	}
	s.kick(nd)
	if w := nd.s.Wake(); !w.IsZero() {
		at := max(w.Sub(simEpoch), s.now)
		if nd.wakeAt < 0 || at < nd.wakeAt {
			nd.wakeAt = at
			s.after(at-s.now, func() {
				if nd.wakeAt == at {
					nd.wakeAt = -1
					s.step(nd, Event{Kind: Wake})
				}
			})
		}
	}
}

// kick has a node's uplink send the next piece.
func (s *sim) kick(nd *simNode) {
	if s.p.fifo {
		s.kickFifo(nd)
		return
	}
	if nd.busy || len(nd.out) == 0 {
		return
	}
	var best *simLink
	at := 0
	for k := range nd.out {
		i := (nd.turn + k) % len(nd.out)
		l := nd.out[i]
		if len(l.control) > 0 {
			best = l
			break
		}
		if best == nil && l.inFlight < simWindow {
			if len(l.data) == 0 && l.ready {
				l.ready = false
				nd.busy = true // no second look meanwhile
				before := len(l.data)
				s.step(nd, Event{Kind: Pull, Peer: s.nodes[l.to].id})
				nd.busy = false
				l.ready = l.ready || len(l.data) > before
			}
			if len(l.data) > 0 {
				best, at = l, i
			}
		}
	}
	if best == nil {
		return
	}
	var p packet
	if len(best.control) > 0 {
		p, best.control = best.control[0], best.control[1:]
	} else {
		p, best.data = best.data[0], best.data[1:]
		best.inFlight += p.bytes
		nd.turn = (at + 1) % len(nd.out)
	}
	isData := p.frame == nil || p.frame.Kind == wire.Chunk
	nd.busy = true
	nd.sent += int64(p.bytes)
	l := best
	s.after(time.Duration(float64(p.bytes)/nd.rate*1e9), func() {
		nd.busy = false
		s.after(l.delay, func() { s.arrive(l, p, isData) })
		s.kick(nd)
	})
}

// kickFifo hands to a node's line what the windows of its links allow.
func (s *sim) kickFifo(nd *simNode) {
	if nd.turn < 0 {
		return // it is at it
	}
	nd.turn = -1
	for _, l := range nd.out {
		for len(l.control) > 0 {
			nd.hand(packet{frame: l.control[0].frame, bytes: l.control[0].bytes, l: l})
			l.control = l.control[1:]
		}
	}
	for more := true; more; {
		more = false
		for k := range nd.out {
			i := (nd.next + k) % len(nd.out)
			l := nd.out[i]
			if len(l.data) == 0 && !l.ready || s.p.shared && nd.waits >= wire.Piece {
				continue
			}
			if l.inFlight+wire.Piece > l.window {
				l.limited = true
				continue
			}
			if len(l.data) == 0 {
				l.ready = false
				s.step(nd, Event{Kind: Pull, Peer: s.nodes[l.to].id})
				l.ready = l.ready || len(l.data) > 0
				for _, o := range nd.out {
					for len(o.control) > 0 {
						nd.hand(packet{frame: o.control[0].frame, bytes: o.control[0].bytes, l: o})
						o.control = o.control[1:]
					}
				}
			}
			if len(l.data) > 0 {
				p := l.data[0]
				l.data = l.data[1:]
				p.l, p.left = l, s.now
				l.inFlight += p.bytes
				nd.hand(p)
				more = true
				if s.p.shared {
					nd.next = i + 1
				}
			}
		}
	}
	nd.turn = 0
	s.drain(nd)
}

// hand gives a packet to the line.
func (nd *simNode) hand(p packet) {
	nd.line = append(nd.line, p)
	nd.waits += p.bytes
}

func (s *sim) drain(nd *simNode) {
	if nd.busy || len(nd.line) == 0 {
		return
	}
	p := nd.line[0]
	nd.line = nd.line[1:]
	nd.waits -= p.bytes
	nd.busy = true
	nd.sent += int64(p.bytes)
	s.after(time.Duration(float64(p.bytes)/nd.rate*1e9), func() {
		nd.busy = false
		isData := p.frame == nil || p.frame.Kind == wire.Chunk
		s.after(p.l.delay, func() { s.arrive(p.l, p, isData) })
		if s.p.shared {
			s.kick(nd)
		}
		s.drain(nd)
	})
}

// marked moves a window, see package pacing.
func (s *sim) marked(l *simLink, p packet) {
	delay, base := s.now-p.left, 2*l.delay
	if p.left < l.round {
		return
	}
	allowed := base + base/4 + 20*time.Millisecond
	in := max(l.inFlight+p.bytes, l.window*3/4)
	if in >= l.window*3/4 {
		in = l.window
	}
	next := int(float64(in) * float64(allowed) / float64(delay))
	switch {
	case delay > allowed:
		l.steady = true
	case !l.limited:
		return
	case !l.steady:
		next = 2 * in
	}
	if delay <= allowed && next <= l.window {
		return
	}
	l.window = min(max(next, l.window/2, 16<<10), 2*l.window)
	l.round, l.limited = s.now, false
}

func (s *sim) arrive(l *simLink, p packet, isData bool) {
	to := s.nodes[l.to]
	done := max(s.now, to.downFree) + time.Duration(float64(p.bytes)/to.rate*1e9)
	to.downFree = done
	s.after(done-s.now, func() {
		to.received += int64(p.bytes)
		if isData {
			s.after(l.delay, func() {
				l.inFlight -= p.bytes
				if s.p.fifo {
					s.marked(l, p)
				}
				s.kick(s.nodes[l.from])
			})
		}
		s.deliver(l, p)
	})
}

func (s *sim) deliver(l *simLink, p packet) {
	to, from := s.nodes[l.to], s.nodes[l.from]
	if s.p.push {
		s.deliverPush(l, p)
		return
	}
	f := *p.frame
	if to.role != honest && f.Kind != wire.Announce {
		if to.role == liar && f.Kind == wire.Want {
			for c := range f.Chunks.All() {
				g := wire.Frame{Kind: wire.Chunk, Number: f.Number, Yours: !f.Yours, Index: c}
				g.Data = make([]byte, 16<<10)
				g.Data[1] = 1
				l.back.data = append(l.back.data, packet{frame: &g, bytes: len(g.Data), last: true})
			}
			s.kick(to)
		}
		return
	}
	switch f.Kind {
	case wire.Announce:
		if to.role != honest {
			s.pretend(to, f.Manifest)
			return
		}
		d := f.Manifest.Digest("net")
		s.step(to, Event{Kind: Received, Peer: from.id, Frame: &f, Digest: d, ID: f.Manifest.IDOf(d)})
	case wire.Chunk:
		s.step(to, Event{Kind: Heard, Peer: from.id, Frame: &f})
		if p.last {
			s.step(to, Event{Kind: Received, Peer: from.id, Frame: &f, Sum: sha256.Sum256(f.Data)})
		}
	default:
		s.step(to, Event{Kind: Received, Peer: from.id, Frame: &f})
	}
}

// pretend has a node announce all that it has heard of.
func (s *sim) pretend(nd *simNode, m *wire.Manifest) {
	key := int(m.Sums[0][0])
	if nd.hasMsg[key] {
		return
	}
	nd.hasMsg[key] = true
	for _, l := range nd.out {
		f := &wire.Frame{Kind: wire.Announce, Number: uint32(key) + 1, Manifest: m, Whole: true}
		l.control = append(l.control, packet{frame: f, bytes: len(wire.Append(nil, f))})
	}
	s.kick(nd)
}

// start has node 0 publish message i.
func (s *sim) start(i int) {
	nd := s.nodes[0]
	if s.p.push {
		nd.hasMsg[i] = true
		s.forward(nd, i)
		return
	}
	var header []byte
	if !s.p.noHeader {
		header = []byte{byte(i), 1}
	}
	m := wire.NewManifest("block", s.datas[i], header)
	d := m.Digest("net")
	s.step(nd, Event{Kind: Publish, Manifest: m, Digest: d, ID: m.IDOf(d), Data: s.datas[i]})
}

func (s *sim) run(limit time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= limit {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.do()
	}
	s.now = limit
}

// ---- pushing, as GossipSub does it, with IDONTWANT ----

func (s *sim) forward(nd *simNode, i int) {
	for _, k := range s.rng.Perm(len(nd.out)) {
		l := nd.out[k]
		if !l.mesh || nd.noWant[[2]int{l.to, i}] {
			continue
		}
		for left := s.p.size + 100; left > 0; left -= wire.Piece {
			l.data = append(l.data, packet{frame: nil, bytes: min(left, wire.Piece), last: left <= wire.Piece})
		}
	}
	s.kick(nd)
}

func (s *sim) deliverPush(l *simLink, p packet) {
	to := s.nodes[l.to]
	if p.frame != nil { // IDONTWANT
		to.noWant[[2]int{l.from, 0}] = true
		// What has begun goes on.
		if n := len(l.back.data); n >= (s.p.size+100)/wire.Piece+1 {
			l.back.data = nil
		}
		return
	}
	if !p.last || to.hasMsg[0] {
		return
	}
	to.hasMsg[0] = true
	to.got[0] = s.now
	for _, o := range to.out {
		if o.mesh && o != l.back {
			o.control = append(o.control, packet{frame: &wire.Frame{}, bytes: 60})
		}
	}
	to.noWant[[2]int{l.from, 0}] = true
	s.kick(to)
	s.after(time.Duration(s.p.wholMS*1e6), func() { s.forward(to, 0) })
}

// ---- results ----

type simResult struct {
	t50, t95, t100     float64 // seconds
	wire, source, most float64 // received a node, sent by the source, by the busiest, over size
	missed             int
	bans               int // of liars
}

// result is about message i; bytes are of all messages.
func (s *sim) result(i int, began time.Duration) (r simResult) {
	var took []float64
	size := float64(s.p.size * s.p.messages)
	honestNodes := 0
	for k, nd := range s.nodes {
		if k == 0 || nd.role != honest {
			continue
		}
		honestNodes++
		if nd.got[i] == 0 {
			r.missed++
			continue
		}
		took = append(took, (nd.got[i] - began).Seconds())
		r.wire += float64(nd.received) / size
		r.most = max(r.most, float64(nd.sent)/size)
		r.bans += len(nd.banned)
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		if k := int(math.Ceil(q*float64(honestNodes))) - 1; k < len(took) {
			return took[k]
		}
		return math.Inf(1)
	}
	r.t50, r.t95, r.t100 = at(.5), at(.95), at(1)
	r.wire /= float64(honestNodes)
	r.source = float64(s.nodes[0].sent) / size
	return r
}

// simulate plays messages one after the other, and gives the mean of the last one over
// seeds.
func simulate(p simParams, seeds int) (mean simResult) {
	for seed := range seeds {
		s := newSim(p, uint64(100+seed))
		var began time.Duration
		for i := range p.messages {
			began = s.now
			s.start(i)
			s.run(began + 20*time.Second)
		}
		r := s.result(p.messages-1, began)
		mean.t50 += r.t50 / float64(seeds)
		mean.t95 += r.t95 / float64(seeds)
		mean.t100 += r.t100 / float64(seeds)
		mean.wire += r.wire / float64(seeds)
		mean.source += r.source / float64(seeds)
		mean.most = max(mean.most, r.most)
		mean.missed += r.missed
		mean.bans += r.bans
	}
	return mean
}
