package swarm

import (
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// progressEvery is how often Config.Progress is told of a message.
const progressEvery = 100 * time.Millisecond

// progress is what was told of messages under way.
type progress struct {
	changed chan struct{} // to report: something has come; capacity 1

	mu   sync.Mutex // guards told
	told map[wire.Sum]int
}

func newProgress() *progress {
	return &progress{changed: make(chan struct{}, 1), told: make(map[wire.Sum]int)}
}

func (p *progress) signal() {
	select {
	case p.changed <- struct{}{}:
	default: // report will look anyway
	}
}

func (p *progress) forget(id wire.Sum) {
	p.mu.Lock()
	delete(p.told, id)
	p.mu.Unlock()
}

// news tells whether more of a message is here than was told.
func (p *progress) news(v sched.View) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, known := p.told[v.ID]
	if known && was == v.Here {
		return false
	}
	p.told[v.ID] = v.Here
	return true
}

// report tells the program of what has come.
func (e *Engine) report() {
	for {
		select {
		case <-e.life.Done():
			return
		case <-e.progress.changed: // signal
		}
		e.mu.Lock()
		views := e.sched.Views()
		e.mu.Unlock()
		for _, v := range views {
			if v.From != "" && e.progress.news(v) {
				e.tell(v)
			}
		}
		select {
		case <-e.life.Done():
			return
		case <-time.After(progressEvery):
		}
	}
}

func (e *Engine) tell(v sched.View) {
	defer func() {
		if p := recover(); p != nil {
			e.panicked("progress", p)
		}
	}()
	e.cfg.Progress(v)
}
