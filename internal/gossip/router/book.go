package router

import (
	"slices"
	"time"
)

// state is where a message is on its way.
type state uint8

const (
	waiting     state = iota // for a slot
	validating               // a Validate or ValidateNow effect is out
	deferred                 // until its key is resumed
	retryable                // the next copy is taken
	accepted                 // delivered, or published
	awaitsRelay              // delivered, and to go on when Relay comes
	rejected
	ignored
	pending // own, waits for a first peer
	dead    // no longer in the book
)

// entry is one message.
type entry struct {
	id    string
	topic *Topic
	state state
	from  *Peer         // that sent it; nil for an own one
	first time.Duration // when it came, see Router.clock

	msg    *Message // nil when it cannot be served any more
	said   uint64   // its number in the history
	saidAt time.Duration
	copies []*Peer       // others that sent it, while that matters
	served map[*Peer]int // how often it was asked for and sent

	live *live // nil once its fate is decided
}

// live is what is needed of an entry whose fate is open.
type live struct {
	since   time.Time // it is in its state
	sender  *sender   // holds a slot, or waits for one
	placed  bool      // holds a place among the deferred
	key     string
	until   time.Time
	epoch   uint64 // of the deferrals when its validation began
	retaken bool

	holders []*Peer // that have it, the first to be asked first
	asked   time.Time
	quiet   bool // it is not asked for
}

// maxServed bounds the peers of which an entry knows how often they were served.
const maxServed = 256

// serve reports whether a peer may be served once more.
func (e *entry) serve(p *Peer, most int) bool {
	n := e.served[p]
	if n >= most || n == 0 && len(e.served) >= maxServed {
		return false
	}
	if e.served == nil {
		e.served = make(map[*Peer]int)
	}
	e.served[p]++
	return true
}

// fifo holds entries by age.
type fifo struct {
	q    []*entry
	head int
}

func (f *fifo) push(e *entry) { f.q = append(f.q, e) }

func (f *fifo) front() *entry {
	if f.head == len(f.q) {
		return nil
	}
	return f.q[f.head]
}

func (f *fifo) pop() {
	f.q[f.head] = nil
	if f.head++; f.head <= 64 || 2*f.head <= len(f.q) {
		return
	}
	rest := f.q[f.head:]
	if cap(f.q) > 8*len(rest) {
		f.q = slices.Clone(rest) // it was longer once
	} else {
		n := copy(f.q, rest)
		clear(f.q[n:])
		f.q = f.q[:n]
	}
	f.head = 0
}

// Known reports whether a further copy of a message would be a duplicate. Nothing
// changes.
func (r *Router) Known(id []byte) bool {
	e := r.book[string(id)]
	return e != nil && e.state != retryable
}

// enter makes an entry.
func (r *Router) enter(t *Topic, m *Message, from *Peer) *entry {
	e := r.newEntry()
	*e = entry{id: m.ID, topic: t, from: from, first: r.clock, msg: m, live: r.newLive()}
	r.book[m.ID] = e
	r.fifo.push(e)
	if len(r.book) > r.cfg.MaxSeen {
		r.forgetOldest()
	}
	return e
}

// entriesAtOnce is how many entries are made at once, in 4 KiB. They are forgotten in about the
// order in which they were made, so few of them hold the memory of the others.
const entriesAtOnce = 36

func (r *Router) newEntry() *entry {
	if len(r.unused) == 0 {
		r.unused = make([]entry, entriesAtOnce)
	}
	e := &r.unused[0]
	r.unused = r.unused[1:]
	return e
}

// forgetOldest makes space in the book. Entries whose fate is open have bounds of
// their own and stay.
func (r *Router) forgetOldest() {
	for n := len(r.fifo.q) - r.fifo.head; n > 0; n-- {
		e := r.fifo.front()
		r.fifo.pop()
		switch {
		case e.state == dead:
		case e.live == nil:
			r.forget(e)
			return
		default:
			r.fifo.push(e)
		}
	}
}

// expireSeen forgets what is older than SeenTTL.
func (r *Router) expireSeen() {
	for n := len(r.fifo.q) - r.fifo.head; n > 0; n-- {
		e := r.fifo.front()
		if e.state != dead && r.clock-e.first <= r.cfg.SeenTTL {
			return
		}
		r.fifo.pop()
		switch {
		case e.state == dead:
		case e.state == retryable:
			if !e.live.quiet {
				e.topic.counts.Forgotten++
			}
			e.topic.retry.remove(e)
			r.forget(e)
		case e.live == nil:
			r.forget(e)
		default:
			e.first = r.clock
			r.fifo.push(e)
		}
	}
}

// forget takes an entry out of the book.
func (r *Router) forget(e *entry) {
	delete(r.book, e.id)
	r.unkeep(e)
	e.state, e.live = dead, nil
}

// maxSpare is how many lives are kept for the next entries: as many as a batch of
// frames has messages, most of which are decided at once.
const maxSpare = 64

func (r *Router) newLive() *live {
	n := len(r.spare)
	if n == 0 {
		return &live{since: r.now}
	}
	l := r.spare[n-1]
	r.spare = r.spare[:n-1]
	l.since = r.now
	return l
}

// decide ends what is open about an entry.
func (r *Router) decide(e *entry, s state) {
	if l := e.live; l != nil && len(r.spare) < maxSpare {
		*l = live{}
		r.spare = append(r.spare, l)
	}
	e.state, e.live = s, nil
}

// tickOf is what was said in one tick, in order. Those before gone are not kept any
// more: to pass over them again for each message would cost more than all the rest.
type tickOf struct {
	said []*entry
	gone int
}

// kept is those that may still be served.
func (t *tickOf) kept() []*entry { return t.said[t.gone:] }

// say puts a message into the history, out of which it is announced and served.
func (r *Router) say(e *entry) {
	if e.msg.Carried {
		e.msg = nil
		return
	}
	r.said++
	e.said, e.saidAt = r.said, r.clock
	r.history[0].said = append(r.history[0].said, e)
	r.kept += len(e.msg.Frame)
	for i := len(r.history) - 1; i >= 0 && r.kept > r.cfg.HistoryBytes; i-- {
		for t := &r.history[i]; t.gone < len(t.said) && r.kept > r.cfg.HistoryBytes; t.gone++ {
			if t.said[t.gone] == e {
				return
			}
			r.unkeep(t.said[t.gone])
		}
	}
}

// unkeep lets go of a message that was said.
func (r *Router) unkeep(e *entry) {
	if e.said > 0 && e.msg != nil {
		r.kept -= len(e.msg.Frame)
	}
	e.msg, e.copies, e.served = nil, nil, nil
}

// shift ages the history by one tick.
func (r *Router) shift() {
	last := len(r.history) - 1
	for _, e := range r.history[last].kept() {
		r.unkeep(e)
	}
	oldest := r.history[last].said
	clear(oldest)
	if cap(oldest) > 4*len(r.history[0].said)+64 {
		oldest = nil
	}
	copy(r.history[1:], r.history[:last])
	r.history[0] = tickOf{said: oldest[:0]}
}

// forgetMessages forgets all entries of a topic.
func (r *Router) forgetMessages(t *Topic) {
	r.expireDeferred(t)
	t.counts.Unsent += int64(len(t.pending))
	t.pending, t.pendingBytes = nil, 0
	for i := range r.history {
		for _, e := range r.history[i].kept() {
			if e.topic == t {
				r.unkeep(e)
			}
		}
	}
	for _, e := range r.book {
		if e.topic == t {
			r.unplace(e)
			r.forget(e)
		}
	}
	t.queue = fairQueue{}
	r.weighQueue(t)
}

// addCopy notes that a further peer has sent the message. Most meshes are of the size for
// which there is space at first.
func (e *entry) addCopy(p *Peer) {
	if e.copies == nil {
		e.copies = make([]*Peer, 0, 8)
	}
	if len(e.copies) < maxServed {
		e.copies = append(e.copies, p)
	}
}

// sentBy reports whether a peer has sent a copy of the message itself.
func (e *entry) sentBy(p *Peer) bool {
	return e.from == p || slices.Contains(e.copies, p)
}
