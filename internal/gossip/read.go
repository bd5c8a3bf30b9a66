package gossip

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// incoming takes a stream of a peer. Nothing of it is read before it is known what
// the peer may do; the newest counts.
func (e *Engine) incoming(s network.Stream) {
	p := s.Conn().RemotePeer()
	e.mu.Lock()
	if e.life.Err() != nil || e.cfg.Host.Network().Connectedness(p) != network.Connected {
		e.mu.Unlock()
		_ = s.Reset()
		return
	}
	r := e.remoteLocked(p)
	if r.access == none {
		e.resetLocked(r.unread)
		r.unread = s
		e.unlock()
		e.lookAgain(p) // it may have become a member just now
		return
	}
	read := e.beginReadLocked(r, s)
	e.unlock()
	if read != nil && e.streams.enter() {
		defer e.streams.leave()
		read()
	}
}

// beginReadLocked makes a stream the one that is read, and returns what reads it.
func (e *Engine) beginReadLocked(r *remote, s network.Stream) func() {
	var out outcome
	if r.in != nil {
		e.resetLocked(r.in)
		e.stepLocked(router.Event{Kind: router.Silent, Peer: r.id}, &out)
	}
	e.stepLocked(router.Event{Kind: router.Heard, Peer: r.id}, &out)
	e.tellAccessLocked(r, &out)
	r.in = s
	return func() { e.read(r, s) }
}

// reader reads one stream.
type reader struct {
	e      *Engine
	r      *remote
	s      network.Stream
	frames frames
	heard  time.Time
	wireIn metrics.Counter
	// brought are the topics of messages that were new, since the last awaitQueues.
	brought []*topic
}

func (e *Engine) read(r *remote, s network.Stream) {
	rd := &reader{
		e: e, r: r, s: s, wireIn: e.cfg.Obs.Counter(obs.GossipWireIn),
		frames: frames{s: s, limit: e.cfg.MaxMessageSize + msgtype.BroadcastOverhead},
	}
	err := rd.loop()
	rd.frames.release()
	_ = s.Reset()
	switch {
	case errors.Is(err, rpc.ErrTooMany):
		e.fault(r.id, faultControl)
	case errors.Is(err, rpc.ErrMalformed), errors.Is(err, errFrameLength):
		e.fault(r.id, faultFrame)
	}
	e.mu.Lock()
	defer e.unlock()
	if r.in != s {
		return // another one has taken its place
	}
	r.in = nil
	var out outcome
	e.stepLocked(router.Event{Kind: router.Silent, Peer: r.id}, &out)
}

func (rd *reader) loop() error {
	for {
		n, err := rd.frames.fill()
		if err != nil {
			return err
		}
		rd.wireIn.Inc(int64(n))
		rd.noteHeard()
		if err := rd.takeAll(); err != nil {
			return err
		}
		rd.awaitQueues()
	}
}

// heardStep is how often Config.Heard is called for a stream.
const heardStep = time.Second

func (rd *reader) noteHeard() {
	if f := rd.e.cfg.Heard; f != nil {
		if at := now(); at.Sub(rd.heard) >= heardStep {
			rd.heard = at
			f(rd.r.id)
		}
	}
}

// takeAll handles the whole frames that have come.
func (rd *reader) takeAll() error {
	if !rd.e.calls.enter() {
		return ErrClosed
	}
	defer rd.e.calls.leave()
	var b *batch
	defer func() {
		if b != nil {
			b.release()
		}
	}()
	for {
		frame, err := rd.frames.next()
		if frame == nil || err != nil {
			if b != nil {
				rd.take(b)
			}
			return err
		}
		if b == nil {
			b = pool.Get().(*batch)
		}
		if err := b.decode(frame); err != nil {
			rd.take(b)
			return err
		}
		if b.n == len(b.rpcs) {
			rd.take(b)
		}
	}
}

// batch is what is decoded of a stream and handed to the router at once.
type batch struct {
	rpcs [16]rpc.RPC
	n    int
	msgs []arrival
	ids  []byte // those of msgs

	validate []*router.Message // to be validated, of inline topics
	verdicts []router.Verdict  // on them
}

// arrival is one message of a batch.
type arrival struct {
	t        *topic
	in       *rpc.Message
	from, to int // its ID is ids[from:to]
	forged   bool
	fresh    *router.Message
}

var pool = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) release() {
	b.reset()
	pool.Put(b)
}

func (b *batch) reset() {
	for i := range b.n {
		b.rpcs[i].Reset()
	}
	b.n = 0
	clear(b.msgs)
	b.msgs, b.ids = b.msgs[:0], b.ids[:0]
	clear(b.validate)
	clear(b.verdicts)
	b.validate, b.verdicts = b.validate[:0], b.verdicts[:0]
	if cap(b.msgs) > 1024 {
		b.msgs, b.ids, b.validate, b.verdicts = nil, nil, nil, nil
	}
}

func (b *batch) decode(frame []byte) error {
	if err := b.rpcs[b.n].Decode(frame, rpc.DefaultLimits()); err != nil {
		b.rpcs[b.n].Reset()
		return err
	}
	b.n++
	return nil
}

// take hands what was decoded to the router.
func (rd *reader) take(b *batch) {
	defer b.reset()
	e, p := rd.e, rd.r.id
	e.mu.Lock()
	heeded := rd.r.in == rd.s && e.router.Accepts(p)
	e.mu.Unlock()
	if heeded {
		rd.name(b)
	}
	var out outcome
	fresh := 0
	e.mu.Lock()
	if rd.r.in != rd.s {
		e.mu.Unlock()
		return
	}
	for i := range b.n {
		// What a peer subscribes to is noted in any case.
		if in := &b.rpcs[i]; in.HasControl() || len(in.Subs) > 0 {
			e.stepLocked(router.Event{Kind: router.Control, Peer: p, RPC: in}, &out)
		}
	}
	for i := range b.msgs {
		a := &b.msgs[i]
		id := b.ids[a.from:a.to]
		a.t.own.bytesIn += int64(len(a.in.Data))
		rd.r.got.add(a.in.Data)
		switch {
		case a.forged:
			e.stepLocked(router.Event{Kind: router.Forged, Peer: p, Topic: a.t.Name}, &out)
		case e.author != nil && string(a.in.From) == string(e.author.id), e.router.Known(id):
			// An own message that comes back is nobody's fault: after a restart peers
			// cannot know whose it is.
			e.stepLocked(router.Event{Kind: router.Copy, Peer: p, Topic: a.t.Name, ID: id}, &out)
		case a.in.Unknown && e.author != nil:
			// Its signature covers what this node does not know, and will not pass on.
			// Whoever does need not be to blame.
			e.stepLocked(router.Event{Kind: router.Copy, Peer: p, Topic: a.t.Name}, &out)
		default:
			fresh++
			continue
		}
		a.t = nil
	}
	e.unlock()
	if fresh > 0 {
		rd.takeFresh(b, &out)
	}
	e.validateAll(&out)
	e.recommend(out.connect)
	rd.awaitValidation()
}

// name finds topic and ID of each message.
func (rd *reader) name(b *batch) {
	e := rd.e
	for i := range b.n {
		for k := range b.rpcs[i].Publish {
			in := &b.rpcs[i].Publish[k]
			t := e.table.Load().byName[string(in.Topic)]
			if t == nil {
				continue
			}
			a := arrival{t: t, in: in, from: len(b.ids)}
			a.forged = !e.wellFormed(in) || !t.fits(in.Data)
			if !a.forged {
				b.ids = e.idOf(b.ids, t, in)
			}
			a.to = len(b.ids)
			b.msgs = append(b.msgs, a)
		}
	}
}

// fits reports whether data is short enough for the topic. What is not has no ID: a
// message that is rejected under an ID keeps others of that name out.
func (t *topic) fits(data []byte) bool {
	if t.stamps {
		data = unstamped(data)
	}
	return len(data) <= t.set().MaxSize
}

// freshIDs is the IDs of all messages that are new, in one piece: they are kept for
// the same time, and one string for each would be an allocation for each.
func (b *batch) freshIDs() string {
	n := 0
	for i := range b.msgs {
		if a := &b.msgs[i]; a.t != nil {
			size := copy(b.ids[n:], b.ids[a.from:a.to])
			a.from, a.to = n, n+size
			n += size
		}
	}
	return string(b.ids[:n])
}

// takeFresh hands messages to the router that it does not know, and validates those of
// inline topics.
func (rd *reader) takeFresh(b *batch, out *outcome) {
	e, p := rd.e, rd.r.id
	ids := b.freshIDs()
	for i := range b.msgs {
		if a := &b.msgs[i]; a.t != nil {
			a.fresh = e.encode(a.t, a.in, p, ids[a.from:a.to])
			if !slices.Contains(rd.brought, a.t) {
				rd.brought = append(rd.brought, a.t)
			}
		}
	}
	mine := outcome{validateNow: b.validate}
	e.mu.Lock()
	if rd.r.in == rd.s {
		for i := range b.msgs {
			if a := &b.msgs[i]; a.fresh != nil {
				e.stepLocked(router.Event{Kind: router.Received, Msg: a.fresh}, &mine)
			}
		}
	}
	e.unlock()
	out.validate = append(out.validate, mine.validate...)
	// Inline topics are validated here: nothing of them blocks, and a goroutine for each
	// message would cost more than the rest.
	b.validate = mine.validateNow
	for _, m := range b.validate {
		b.verdicts = append(b.verdicts, e.validate(m, false))
	}
	if len(b.validate) == 0 {
		return
	}
	e.mu.Lock()
	for i, m := range b.validate {
		e.stepLocked(router.Event{Kind: router.Validated, Msg: m, Verdict: b.verdicts[i]}, out)
	}
	e.unlock()
}
