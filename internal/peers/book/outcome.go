package book

import (
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Trying notes that a peer is being dialled.
func (b *Book) Trying(now time.Time, p peer.ID) {
	if e := b.entries[p]; e != nil {
		e.Tried, e.Renewed = b.clock.at(now), false
	}
}

// Reached notes a session that a dial has led to, over an address, nil when it is
// not known.
func (b *Book) Reached(now time.Time, p peer.ID, over ma.Multiaddr) {
	e := b.entries[p]
	if e == nil {
		return
	}
	b.count(e, -1)
	b.changed = b.changed || !e.Proven() || e.Fails > 0
	at := b.clock.at(now)
	e.Good, e.Met, e.Seen, e.Fails = at, at, at, 0
	if over != nil {
		raw := string(over.Bytes())
		for i := range e.Addrs {
			if e.Addrs[i].Raw == raw {
				e.Addrs[i].Good, e.Addrs[i].Seen, e.Addrs[i].Fails = at, at, 0
			}
		}
	}
	b.count(e, 1)
}

// Met notes a session that the peer dialled.
func (b *Book) Met(now time.Time, p peer.ID) {
	if e := b.entries[p]; e != nil {
		e.Met = b.clock.at(now)
		e.Seen = e.Met
	}
}

// Failed notes an attempt that led to no session, and when the next one may be.
// counts is false for one that says nothing of the peer, because the network may
// have been away.
func (b *Book) Failed(p peer.ID, reason uint16, next time.Time, counts bool) {
	e := b.entries[p]
	if e == nil {
		return
	}
	e.Reason, e.Next, e.PutOff = reason, next, false
	if !counts {
		return
	}
	if e.Fails < math.MaxUint16 {
		e.Fails++
	}
	for i := range e.Addrs {
		if e.Addrs[i].Fails < math.MaxUint16 {
			e.Addrs[i].Fails++
		}
	}
	b.changed = true
}

// Left notes the end of a session, what the peer was worth, and when it may be
// dialled again.
func (b *Book) Left(now time.Time, p peer.ID, reason uint16, useful float64, next time.Time) {
	if e := b.entries[p]; e != nil {
		e.Met, e.Reason, e.Useful, e.Next, e.PutOff = b.clock.at(now), reason, useful, next, false
		e.Seen = e.Met
		b.changed = true
	}
}

// Moved takes what failed for the fault of addresses that a newer record has replaced:
// the peer may be dialled now.
func (b *Book) Moved(p peer.ID) {
	if e := b.entries[p]; e != nil {
		e.Next, e.PutOff, e.Fails = time.Time{}, false, 0
	}
}

// PutOff notes that a peer was not dialled, as none of its addresses can be now, and when
// it may be: at a time, or as soon as there is another address.
func (b *Book) PutOff(p peer.ID, next time.Time) {
	if e := b.entries[p]; e != nil {
		e.Next, e.PutOff = next, true
	}
}

// Blame notes the penalties that stand against each peer, to be saved.
func (b *Book) Blame(faults func(peer.ID) float64) {
	for p, e := range b.entries {
		e.Faults = faults(p)
	}
}

// Retry brings forward when peers may be tried again, to what at says of those it
// is true of: the network is back.
func (b *Book) Retry(at func(*Entry) (time.Time, bool)) {
	for _, e := range b.entries {
		if t, ok := at(e); ok && e.Next.After(t) {
			e.Next = t
		}
	}
}

// Restart makes a book that was loaded that of a new run: what the operator
// named then, it may not name now.
func (b *Book) Restart() {
	for p := range b.entries {
		b.Release(p)
	}
	b.changed = false
}
