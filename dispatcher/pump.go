package dispatcher

import (
	"context"
	"sync"
	"sync/atomic"
)

// pump puts messages into a channel through a queue: straight while there is
// room, and by a goroutine that lives as long as something waits.
type pump struct {
	queueSink
	d       *Dispatcher
	name    string
	ch      chan Message
	panics  atomic.Uint64
	direct  bool // the channel may be tried before the queue
	closeCh bool
	stop    chan struct{} // closed by retire
	once    sync.Once     // closes stop
	done    chan struct{} // closed when drained

	// guarded by q.mu
	running  bool
	draining bool
	finished bool // done is closed
}

func newPump(d *Dispatcher, s *ChanSubscriber, room func()) *pump {
	p := &pump{
		d: d, name: subName(s.id, s.typ), ch: s.ch, direct: s.opts.policy == Lossless, closeCh: s.opts.closeChan,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	p.q = newQueue(&s.opts, room)
	return p
}

func (p *pump) offer(msgs []Message, sizes []uint32, n *int) {
	defer p.start() // also when the key function panics
	if p.direct {
		p.offerDirect(msgs, sizes, n)
	} else {
		p.q.offer(msgs, sizes, n)
	}
}

// start runs the goroutine if something waits.
func (p *pump) start() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	if p.q.n > 0 && !p.running {
		p.running = true
		go p.run()
	}
}

func (p *pump) offerDirect(msgs []Message, sizes []uint32, n *int) {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if q.n == 0 && !p.running {
		for *n < len(msgs) && p.try(msgs[*n]) {
			*n++
			q.in++
			p.handled.Add(1)
		}
	}
	*n += q.offerLocked(msgs[*n:], sizes[*n:])
}

func (p *pump) try(m Message) bool {
	select {
	case p.ch <- m:
		return true
	default:
		return false
	}
}

func (p *pump) begin(context.Context)  {}
func (p *pump) ended() <-chan struct{} { return p.done }

// run lives while something waits. It ends when the queue is empty, or soon
// after stop is closed.
func (p *pump) run() {
	buf := make([]Message, 64)
	if !p.direct {
		buf = buf[:1] // what is taken cannot be replaced any more
	}
	for p.more() {
		n, _ := p.q.take(buf)
		for _, m := range buf[:n] {
			if p.send(m) {
				p.sent()
			}
		}
		clear(buf[:n])
	}
}

// more tells whether run goes on; if not, run must end.
func (p *pump) more() bool {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	if p.q.n > 0 {
		return true
	}
	p.running = false
	p.finishLocked()
	return false
}

// send is false when the pump was stopped, or when the owner of the channel
// closed it against the rules, which counts as a panic.
func (p *pump) send(m Message) (sent bool) {
	defer func() {
		if r := recover(); r != nil {
			p.panics.Add(1)
			p.q.lose(iPanic)
			p.d.panicked(p.name, r)
		}
	}()
	select {
	case <-p.stop:
		return false
	default:
	}
	select {
	case p.ch <- m:
		return true
	case <-p.stop:
		return false
	}
}

func (p *pump) late() lateCounts {
	l := p.queueSink.late()
	l.panics = p.panics.Load()
	return l
}

func (p *pump) drain() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	p.q.closed = true
	p.draining = true
	p.finishLocked()
}

// sent counts a message that is in the channel, also when the pump was stopped
// meanwhile.
func (p *pump) sent() {
	if !p.claim() {
		p.q.mu.Lock()
		p.final++
		p.q.mu.Unlock()
	}
}

// abort also waits for the goroutine, which runs no code but ours: nothing gets
// into the channel afterwards.
func (p *pump) abort() int {
	before := p.late()
	p.retire(iStopped)
	<-p.done
	return int(p.late().drops[iStopped] - before.drops[iStopped])
}

func (p *pump) retire(reason dropIndex) {
	p.queueSink.retire(reason)
	p.once.Do(func() { close(p.stop) })
	p.drain()
}

func (p *pump) finishLocked() {
	if !p.draining || p.running || p.finished {
		return
	}
	p.finished = true
	if p.closeCh {
		closeChannel(p.ch)
	}
	close(p.done)
}
