package gossip

import (
	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// park keeps a message until its key is resumed.
func (l *lane) park(t *topic, m Message, pm *pubsub.Message, key string, began uint64) {
	p := &parked{t: t, m: m, key: key, until: now().Add(t.set().ParkTime)}
	l.e.parkMu.Lock()
	f := l.e.parking.add(p, began)
	l.e.parkMu.Unlock()
	switch f {
	case stays:
		t.n.deferred.Inc(1)
	case noRoom:
		l.turnAway(t, pm, awayParking)
	case resumedMeanwhile:
		t.n.deferred.Inc(1)
		l.resume(p)
	}
}

// epoch numbers the calls of Resume.
func (e *Engine) epoch() uint64 { return e.parking.epoch.Load() }

// Resume validates all messages again that were deferred under key, and returns
// how many those are. A message whose validation is under way meanwhile, and
// ends in Defer(key), is validated again too.
func (e *Engine) Resume(key string) int {
	e.parkMu.Lock()
	ps := e.parking.resume(key, now())
	e.parkMu.Unlock()
	for _, p := range ps {
		p.t.l.resume(p)
	}
	return len(ps)
}

// resume has a message judged again. It keeps its place among the parked until
// its turn comes, so that those who wait are as few as those who may be parked.
func (l *lane) resume(p *parked) {
	ok := l.e.spawn(func() {
		s := p.t.set()
		select {
		case s.slots <- struct{}{}:
			defer s.leave()
		case <-l.e.work.Done():
			l.e.unpark(p)
			p.t.n.expired.Inc(1)
			return
		}
		l.e.unpark(p)
		l.again(p.t, p.m, p.m.raw.msg, true)
	})
	if !ok { // closing
		l.e.unpark(p)
		p.t.n.expired.Inc(1)
	}
}

// unpark frees the place of a message that was taken out by Resume.
func (e *Engine) unpark(p *parked) {
	e.parkMu.Lock()
	defer e.parkMu.Unlock()
	e.parking.gone(p)
}

// expireParked drops what nobody resumed in time, and all of one topic if t is
// not nil. A copy that comes later is taken.
func (e *Engine) expireParked(t *topic) {
	e.parkMu.Lock()
	ps := e.parking.expire(now(), t)
	e.parkMu.Unlock()
	for _, p := range ps {
		p.t.n.expired.Inc(1)
		p.t.away.addQuietly(p.m.ID, sumOf(p.m.raw.msg), now())
	}
}
