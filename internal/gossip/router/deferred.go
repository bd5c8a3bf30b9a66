package router

import (
	"slices"
	"time"
)

const (
	// maxResumed is how many keys are remembered after they were resumed, so that a
	// verdict that was under way meanwhile does not defer in vain.
	maxResumed = 1024
	resumedFor = time.Minute
)

// deferrals are all deferred messages. A place is held from the verdict until the
// message is validated again.
type deferrals struct {
	total, bytes int
	byKey        map[string][]*entry
	peers        map[*Peer]*places
	order        []*entry // by the time of their verdict

	epoch   uint64 // counts resumptions
	resumed map[string]resumption
	keys    []string // of resumed, oldest first
}

// places are what one peer holds.
type places struct{ n, bytes int }

// resumption is the last one of a key.
type resumption struct {
	at    time.Time
	epoch uint64
}

func newDeferrals() deferrals {
	return deferrals{
		byKey: make(map[string][]*entry), peers: make(map[*Peer]*places), resumed: make(map[string]resumption),
	}
}

// deferUntilResumed keeps a message until its key is resumed.
func (r *Router) deferUntilResumed(e *entry, key string) {
	k := &r.deferrals
	if !r.makePlace(e, key) {
		r.turnAway(e, AwayParking)
		return
	}
	e.state = deferred
	l := e.live
	l.placed, l.key, l.until = true, key, r.now.Add(e.topic.spec.ParkTime)
	k.total++
	k.bytes += len(e.msg.Data)
	k.of(e.from).add(1, len(e.msg.Data))
	e.topic.counts.Deferred++
	if k.resumed[key].epoch > l.epoch {
		r.again(e) // while it was validated
		return
	}
	k.byKey[key] = append(k.byKey[key], e)
	k.order = append(k.order, e)
}

func (k *deferrals) of(p *Peer) *places {
	h := k.peers[p]
	if h == nil {
		h = &places{}
		k.peers[p] = h
	}
	return h
}

func (h *places) add(n, bytes int) {
	h.n += n
	h.bytes += bytes
}

// makePlace makes space for a message. Where there is none, the last message of
// whoever has most of what is lacking is turned away, if that is more than the
// sender of this one has. So no peer can keep others out, of a key or of all.
func (r *Router) makePlace(e *entry, key string) bool {
	k, c := &r.deferrals, &r.cfg
	size, mine := len(e.msg.Data), k.of(e.from)
	defer k.tidy(e.from)
	if mine.n >= c.ParkedPerPeer || size > c.ParkedBytes {
		return false
	}
	if len(k.byKey[key]) >= c.ParkedPerKey {
		if !r.displace(k.byKey[key], func(of []*entry) (*Peer, bool) { return most(of, e.from, 1) }) {
			return false
		}
	}
	for k.total >= c.Parked {
		if !r.displace(k.order, func(of []*entry) (*Peer, bool) { return most(of, e.from, 1) }) {
			return false
		}
	}
	for k.bytes+size > c.ParkedBytes {
		if !r.displace(k.order, func(of []*entry) (*Peer, bool) { return heaviest(of, e.from, size) }) {
			return false
		}
	}
	return true
}

// displace turns away the last message of the peer that who names.
func (r *Router) displace(of []*entry, who func([]*entry) (*Peer, bool)) bool {
	p, ok := who(of)
	if !ok {
		return false
	}
	for i := len(of) - 1; i >= 0; i-- {
		if e := of[i]; e.from == p && e.state == deferred {
			r.deferrals.takeOut(e)
			r.turnAway(e, AwayParking)
			return true
		}
	}
	return false
}

// most finds the peer with most of these messages, if it has more than a newcomer
// would have with n more.
func most(of []*entry, newcomer *Peer, n int) (*Peer, bool) {
	return largest(of, newcomer, n, func(*entry) int { return 1 })
}

// heaviest is most by bytes.
func heaviest(of []*entry, newcomer *Peer, bytes int) (*Peer, bool) {
	return largest(of, newcomer, bytes, func(e *entry) int { return len(e.msg.Data) })
}

func largest(of []*entry, newcomer *Peer, more int, size func(*entry) int) (best *Peer, ok bool) {
	sum := make(map[*Peer]int)
	for _, e := range of {
		if e.state == deferred {
			sum[e.from] += size(e)
		}
	}
	for _, e := range of { // in order, so that equal ones are decided alike
		if e.state == deferred && (best == nil || sum[e.from] > sum[best]) {
			best = e.from
		}
	}
	return best, best != nil && best != newcomer && sum[best] > sum[newcomer]+more
}

// takeOut removes a deferred message from its lists and frees its place.
func (k *deferrals) takeOut(e *entry) {
	key := e.live.key
	if left := removeEntry(k.byKey[key], e); len(left) == 0 {
		delete(k.byKey, key)
	} else {
		k.byKey[key] = left
	}
	k.order = removeEntry(k.order, e)
	k.release(e)
}

// release frees the place of a message.
func (k *deferrals) release(e *entry) {
	e.live.placed = false
	k.total--
	k.bytes -= len(e.msg.Data)
	k.of(e.from).add(-1, -len(e.msg.Data))
	k.tidy(e.from)
}

func (k *deferrals) tidy(p *Peer) {
	if h := k.peers[p]; h != nil && h.n == 0 {
		delete(k.peers, p)
	}
}

// resume has all messages of a key validated again.
func (r *Router) resume(key string) {
	k := &r.deferrals
	if _, ok := k.resumed[key]; !ok {
		if len(k.keys) >= maxResumed {
			delete(k.resumed, k.keys[0])
			k.keys = k.keys[1:]
		}
		k.keys = append(k.keys, key)
	}
	k.epoch++
	k.resumed[key] = resumption{r.now, k.epoch}
	es := k.byKey[key]
	delete(k.byKey, key)
	if len(es) > 0 {
		k.order = slices.DeleteFunc(k.order, func(e *entry) bool { return e.live.key == key })
	}
	for _, e := range es {
		r.again(e)
	}
}

// Deferred returns how many messages are deferred under a key.
func (r *Router) Deferred(key string) int { return len(r.deferrals.byKey[key]) }

// again has a deferred message validated again. It keeps its place until it has a
// slot, so that those who wait are as few as those who may be deferred.
func (r *Router) again(e *entry) {
	t, q := e.topic, &e.topic.queue
	if t.spec.Inline {
		r.deferrals.release(e)
		r.validateNow(e)
		return
	}
	s := q.sender(e.from)
	e.state, e.live.sender, e.live.since = waiting, s, r.now
	s.queue = append(s.queue, e)
	r.nextChecks(t)
}

// expireDeferred drops what nobody resumed in time, and all of one topic if t is not
// nil. A copy that comes later is taken.
func (r *Router) expireDeferred(t *Topic) {
	k := &r.deferrals
	for len(k.keys) > 0 && r.now.Sub(k.resumed[k.keys[0]].at) > resumedFor {
		delete(k.resumed, k.keys[0])
		k.keys = k.keys[1:]
	}
	for _, e := range slices.Clone(k.order) {
		if e.topic == t || !r.now.Before(e.live.until) {
			k.takeOut(e)
			e.topic.counts.Expired++
			r.turnAwayQuietly(e)
		}
	}
}
