package gossip

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// backlog counts the bytes that wait for each peer.
type backlog struct {
	limit int64

	mu sync.Mutex // guards n
	n  map[peer.ID]int64
}

func newBacklog(limit int64) *backlog { return &backlog{limit: limit, n: make(map[peer.ID]int64)} }

// put adds bytes and reports whether the peer's bound has been crossed by them.
func (b *backlog) put(p peer.ID, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.n[p]
	b.n[p] = was + int64(n)
	return was <= b.limit && was+int64(n) > b.limit
}

// take removes bytes that were written. The frame a stream begins with was
// never put, so it may take too much; then nothing waits.
func (b *backlog) take(p peer.ID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := b.n[p] - int64(n); left > 0 {
		b.n[p] = left
	} else {
		delete(b.n, p)
	}
}

func (b *backlog) of(p peer.ID) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n[p]
}

func (b *backlog) forget(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.n, p)
}
