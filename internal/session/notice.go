package session

import (
	"sync"
	"sync/atomic"
)

// notice wakes everybody who waits for something to change. Without waiters a
// signal costs one atomic load. The zero value is ready.
type notice struct {
	waiters atomic.Int32
	mu      sync.Mutex // guards ch
	ch      chan struct{}
}

// wait registers a waiter. It must look again before it blocks on the channel,
// and call done afterwards.
func (n *notice) wait() <-chan struct{} {
	n.waiters.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notice) done() { n.waiters.Add(-1) }

func (n *notice) signal() {
	if n.waiters.Load() == 0 {
		return
	}
	n.mu.Lock()
	ch := n.ch
	n.ch = nil
	n.mu.Unlock()
	if ch != nil {
		close(ch)
	}
}
