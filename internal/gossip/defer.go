package gossip

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// park keeps a message until its key is resumed.
func (l *lane) park(t *topic, m Message, pm *pubsub.Message, key string, began time.Time) {
	p := &parked{t: t, m: m, key: key, until: now().Add(t.ParkTime)}
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

func (l *lane) resume(p *parked) {
	l.e.spawn(func() {
		// It waits for its slot as long as it takes: it holds its place by
		// having been admitted once.
		select {
		case p.t.slots <- struct{}{}:
			defer p.t.leave()
		case <-l.e.work.Done():
			return
		}
		l.again(p.t, p.m, p.m.raw.msg, now(), true)
	})
}

// expireParked drops what nobody resumed in time.
func (e *Engine) expireParked(t *topic) {
	e.parkMu.Lock()
	ps := e.parking.expire(now(), t)
	e.parkMu.Unlock()
	for _, p := range ps {
		p.t.n.expired.Inc(1)
	}
}
