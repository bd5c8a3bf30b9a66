package gossip

import (
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// pending holds a type's own messages that found no peer yet.
type pending struct {
	n atomic.Int64 // size, to be read without the lock

	mu    sync.Mutex // guards the fields below
	limit int
	room  int // bytes left
	queue []unsent
}

type unsent struct {
	msg   *pubsub.Message
	until time.Time
}

func newPending(limit, bytes int) *pending { return &pending{limit: limit, room: bytes} }

// add queues a message; it fails if there is no room.
func (p *pending) add(m *pubsub.Message, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= p.limit || len(m.GetData()) > p.room {
		return false
	}
	p.room -= len(m.GetData())
	p.queue = append(p.queue, unsent{m, until})
	p.n.Store(int64(len(p.queue)))
	return true
}

// full reports whether there are messages and no room for another one of that
// size.
func (p *pending) full(size int) bool {
	if p.n.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) >= p.limit || size > p.room
}

// front returns the oldest message.
func (p *pending) front() (unsent, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return unsent{}, false
	}
	return p.queue[0], true
}

// pop removes the oldest message if it is still m.
func (p *pending) pop(m *pubsub.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 && p.queue[0].msg == m {
		p.popLocked()
	}
}

// expire removes what is overdue, and returns it.
func (p *pending) expire(now time.Time) (out []*pubsub.Message) {
	if p.n.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && !now.Before(p.queue[0].until) {
		out = append(out, p.queue[0].msg)
		p.popLocked()
	}
	return out
}

func (p *pending) popLocked() {
	p.room += len(p.queue[0].msg.GetData())
	p.queue[0] = unsent{}
	p.queue = p.queue[1:]
	p.n.Store(int64(len(p.queue)))
}

// drain removes everything, and returns it.
func (p *pending) drain() (out []*pubsub.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		out = append(out, p.queue[0].msg)
		p.popLocked()
	}
	return out
}
