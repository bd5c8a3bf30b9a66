package gossip

import "sync"

// group counts the calls that are inside, like a WaitGroup, and is shut once.
type group struct {
	mu   sync.Mutex // guards the fields below
	n    int
	shut bool
	idle chan struct{} // closed when shut and empty
}

func newGroup() *group { return &group{idle: make(chan struct{})} }

// enter reports whether the group is open; if so, leave must follow.
func (g *group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.n++
	return true
}

func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.shut && g.n == 0 {
		close(g.idle)
	}
}

// close lets nobody in any more. The channel it returns is closed when the last
// one has left.
func (g *group) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		if g.n == 0 {
			close(g.idle)
		}
	}
	return g.idle
}
