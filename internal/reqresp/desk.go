package reqresp

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// desk books the calls of peers: how many there are of everybody, and which of
// each method run. The decisions are those of quota and admission.
type desk struct {
	mu    sync.Mutex // guards what follows, the admission of each method, and stage and booked of each call
	quota quota
	// busy is how many handlers run, by method: also those of methods that are
	// served no longer.
	busy map[string]int
}

func newDesk(c Config) *desk {
	return &desk{busy: make(map[string]int), quota: quota{
		maxCalls: c.MaxServed, maxPeerCalls: c.MaxServedPerPeer, maxBytes: c.MaxBytes, maxPeerBytes: c.MaxBytesPerPeer,
		peers: make(map[peer.ID]*booked),
	}}
}

// enter takes a call in; the code is 0 then.
func (d *desk) enter(s *server) failure {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.quota.enter(s.from) {
		return failure{code: Busy, after: s.m.admission.retryAfter()}
	}
	return failure{}
}

// full tells whether a peer, or all of them, hold as much as they may.
func (d *desk) full(p peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.quota.fits(p, 0)
}

// ready decides about a call whose request is complete.
func (d *desk) ready(k *served) (decision, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.stage != receiving {
		return waits, 0 // it has been cancelled
	}
	a := k.s.m.admission
	v := a.enter(k.s.from, k)
	switch v {
	case runs:
		k.stage = running
		d.busy[k.s.m.spec.Name]++
	case waits:
		k.stage = waiting
	case refused:
		return v, a.retryAfter()
	}
	return v, 0
}

// returned ends the handling of a call and gives the one that runs next.
func (d *desk) returned(k *served, took time.Duration) *served {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.stage != running {
		return nil // a handler that panicked after it had returned
	}
	k.stage = answering
	next := k.s.m.admission.leave(k.s.from, took)
	if next != nil {
		next.stage = running
		return next
	}
	name := k.s.m.spec.Name
	if d.busy[name]--; d.busy[name] == 0 {
		delete(d.busy, name)
	}
	return nil
}

// stuck names the methods with handlers that run, and their number.
func (d *desk) stuck() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.busy {
		names = append(names, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(names)
	return names
}

// answering books the bytes of an answer, in place of those of the request.
func (d *desk) answering(k *served, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quota.book(k.s.from, bytes-k.booked)
	k.booked = bytes
}

// withdraw takes a call out that has not got a handler yet. It is false for one
// that has.
func (d *desk) withdraw(k *served) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch k.stage {
	case waiting:
		k.s.m.admission.withdraw(k.s.from, k)
	case receiving:
	default:
		return false
	}
	k.stage = answering
	return true
}

// finish ends a call, once.
func (d *desk) finish(k *served) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.stage == over {
		return false
	}
	k.stage = over
	d.quota.leave(k.s.from, k.booked)
	return true
}
