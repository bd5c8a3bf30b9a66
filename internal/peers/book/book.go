package book

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Bounds.
const (
	MaxPeers     = 10_000 // in all, those of the operator apart
	MaxPerSource = 6_000  // of one source, those that were reached apart
	MaxPerTeller = 256    // that one peer told of first
	MaxPerGroup  = 64     // of one public neighbourhood, those that were reached apart
	MaxAddrs     = 8      // of one peer
	MaxAddrsKept = 64     // of one that the operator named
	MaxAddr      = 256    // bytes of one address
	MaxAgent     = 128    // bytes
	maxID        = 64     // bytes

	sampled = 16 // entries looked at to find one to give up
)

// When a peer is forgotten. One that was never reached has little time: made-up
// peers are the cheapest attack.
const (
	forgetUnproven = 7 * 24 * time.Hour
	forgetProven   = 60 * 24 * time.Hour
	maxFails       = 8  // in a row, of one that was never reached
	maxFailsProven = 40 // of one that was
)

// Outcome is what became of what was told.
type Outcome string

// The outcomes.
const (
	Added   Outcome = "added"
	Updated Outcome = "updated"
	Known   Outcome = "known"   // nothing new in it
	Stale   Outcome = "stale"   // the book has a newer record
	Full    Outcome = "full"    // no place among those of its source, teller or neighbourhood
	Useless Outcome = "useless" // no address, or an ID that is none
)

// Told is what somebody says of a peer.
type Told struct {
	Peer   peer.AddrInfo
	Source Source
	Teller peer.ID // the other peer that said it, if one did
	Seq    uint64  // of the signed record, 0 when it is not signed
	Agent  string
}

// Book holds the entries and the bans. Make one with New.
type Book struct {
	entries map[peer.ID]*Entry
	tellers map[peer.ID]int
	groups  map[netip.Prefix]int // of unproven entries
	bySrc   [sources]int         // of unproven entries
	bans    map[string]Ban       // by Ban.key
	clock   clock
	changed bool
}

// New makes an empty book.
func New() *Book {
	return &Book{
		entries: make(map[peer.ID]*Entry), tellers: make(map[peer.ID]int),
		groups: make(map[netip.Prefix]int), bans: make(map[string]Ban),
	}
}

// Len is the number of peers.
func (b *Book) Len() int { return len(b.entries) }

// Get returns the entry of a peer, nil when there is none. The caller must not
// change it.
func (b *Book) Get(p peer.ID) *Entry { return b.entries[p] }

// All ranges over the entries in random order. The loop must not change the
// book.
func (b *Book) All() iter.Seq[*Entry] { return maps.Values(b.entries) }

// TakeChanged tells whether something worth saving has changed since the last
// call.
func (b *Book) TakeChanged() bool {
	was := b.changed
	b.changed = false
	return was
}

// Changed tells the same and leaves it at that.
func (b *Book) Changed() bool { return b.changed }

// Touch makes the book due to be saved again, after a failure, say.
func (b *Book) Touch() { b.changed = true }

// Add takes in what somebody says of a peer.
func (b *Book) Add(now time.Time, t Told) Outcome {
	id := t.Peer.ID
	if id == "" || len(id) > maxID || t.Source >= sources {
		return Useless
	}
	e := b.entries[id]
	if e == nil {
		return b.insert(now, t)
	}
	if t.Source == FromOperator && !e.Kept {
		b.count(e, -1)
		e.Kept = true
		b.count(e, 1)
		b.changed = true
	}
	// What a peer says of itself comes in the order in which it was said. A greater number
	// that was known of it is one of a clock that was ahead.
	own := t.Source == FromPeer
	if !own && t.Seq != 0 && t.Seq < e.Seq {
		return Stale
	}
	at := b.clock.at(now)
	e.Seen = at
	if t.Agent != "" {
		e.Agent = cut(t.Agent)
	}
	fresh := own || t.Seq > e.Seq
	if fresh {
		e.Seq = t.Seq
	}
	before := b.ungroup(e)
	added := e.merge(at, t, fresh)
	b.regroup(e, before)
	if added {
		b.changed = true
		e.Renewed = e.Renewed || fresh
		if e.PutOff {
			e.Next, e.PutOff = time.Time{}, false
		}
		return Updated
	}
	return Known
}

func (b *Book) insert(now time.Time, t Told) Outcome {
	at := b.clock.at(now)
	e := &Entry{
		ID: t.Peer.ID, Source: t.Source, Teller: t.Teller, Kept: t.Source == FromOperator,
		Seq: t.Seq, Added: at, Seen: at, Agent: cut(t.Agent),
	}
	e.merge(at, t, false)
	e.group = e.findGroup()
	if len(e.Addrs) == 0 && !e.Kept {
		return Useless
	}
	if !e.Kept {
		if b.tellers[e.Teller] >= MaxPerTeller && e.Teller != "" ||
			b.bySrc[e.Source] >= MaxPerSource || e.group.IsValid() && b.groups[e.group] >= MaxPerGroup {
			return Full
		}
		if len(b.entries) >= MaxPeers && !b.evict() {
			return Full
		}
	}
	b.entries[e.ID] = e
	b.count(e, 1)
	b.changed = true
	return Added
}

// merge adds addresses, and returns whether one was new. A newer signed record
// takes the place of what older ones said, apart from what was reached.
func (e *Entry) merge(at int64, t Told, fresh bool) (added bool) {
	limit := MaxAddrs
	if e.Kept {
		limit = MaxAddrsKept
	}
	if fresh && t.Source.signed() {
		e.Addrs = slices.DeleteFunc(e.Addrs, func(a Addr) bool { return a.Source.signed() && a.Good == 0 && !told(t, a.Raw) })
	}
	for i, m := range t.Peer.Addrs {
		if i == limit {
			break
		}
		raw := string(m.Bytes())
		if len(raw) == 0 || len(raw) > MaxAddr {
			continue
		}
		if k := slices.IndexFunc(e.Addrs, func(a Addr) bool { return a.Raw == raw }); k >= 0 {
			e.Addrs[k].Seen = at
			if t.Source == FromOperator {
				e.Addrs[k].Source = FromOperator
			}
			continue
		}
		a := Addr{Raw: raw, Source: t.Source, Seen: at}
		if len(e.Addrs) < limit {
			e.Addrs = append(e.Addrs, a)
			added = true
			continue
		}
		if k := e.worst(); k >= 0 {
			e.Addrs[k] = a
			added = true
		}
	}
	return added
}

func told(t Told, raw string) bool {
	return slices.ContainsFunc(t.Peer.Addrs, func(m ma.Multiaddr) bool { return string(m.Bytes()) == raw })
}

// worst is the address to give up for a new one, -1 when all are better: a list
// of new ones must not push out what was reached or what the operator named.
func (e *Entry) worst() int {
	k := -1
	for i, a := range e.Addrs {
		if a.Source == FromOperator || a.Good != 0 && a.Fails < maxFails {
			continue
		}
		if k < 0 || a.worse(e.Addrs[k]) {
			k = i
		}
	}
	return k
}

// sorted are the addresses, the best first.
func (e *Entry) sorted() []Addr {
	out := slices.Clone(e.Addrs)
	slices.SortStableFunc(out, func(a, b Addr) int {
		switch {
		case a.worse(b):
			return 1
		case b.worse(a):
			return -1
		}
		return 0
	})
	return out
}

func (e *Entry) findGroup() netip.Prefix {
	for _, a := range e.Addrs {
		if ip, ok := a.ip(); ok && !ip.IsLoopback() && !ip.IsPrivate() {
			return GroupOf(ip)
		}
	}
	return netip.Prefix{}
}

// ungroup takes an entry out of the counts before it changes, and regroup puts
// it back.
func (b *Book) ungroup(e *Entry) netip.Prefix {
	b.count(e, -1)
	return e.group
}

func (b *Book) regroup(e *Entry, before netip.Prefix) {
	if e.group = e.findGroup(); !e.group.IsValid() {
		e.group = before
	}
	b.count(e, 1)
}

func (b *Book) count(e *Entry, d int) {
	if e.Kept || e.Proven() {
		return
	}
	b.bySrc[e.Source] += d
	add(b.tellers, e.Teller, d)
	add(b.groups, e.group, d)
}

func add[K comparable](m map[K]int, k K, d int) {
	var zero K
	if k == zero {
		return
	}
	if m[k] += d; m[k] <= 0 {
		delete(m, k)
	}
}

// evict gives up the worst of a few random entries.
func (b *Book) evict() bool {
	var victim *Entry
	n := 0
	for _, e := range b.entries {
		if e.Kept {
			continue
		}
		if victim == nil || e.worse(victim) {
			victim = e
		}
		if n++; n == sampled {
			break
		}
	}
	if victim == nil {
		return false
	}
	b.remove(victim)
	return true
}

func (b *Book) remove(e *Entry) {
	b.count(e, -1)
	delete(b.entries, e.ID)
	b.changed = true
}

// Remove forgets a peer that the operator has not named.
func (b *Book) Remove(p peer.ID) {
	if e := b.entries[p]; e != nil && !e.Kept {
		b.remove(e)
	}
}

// Release makes a peer that the operator named an ordinary one.
func (b *Book) Release(p peer.ID) {
	if e := b.entries[p]; e != nil && e.Kept {
		e.Kept = false
		if len(e.Addrs) > MaxAddrs {
			e.Addrs = e.sorted()[:MaxAddrs]
		}
		b.count(e, 1)
		b.changed = true
	}
}

// Expire forgets what is over: peers that nobody has seen for long, or that were
// tried in vain too often, and bans.
func (b *Book) Expire(now time.Time) {
	at := b.clock.at(now)
	for _, e := range b.entries {
		if e.over(at) {
			b.remove(e)
		}
	}
	b.expireBans(now)
}

func (e *Entry) over(at int64) bool {
	idle := since(at, max(e.Seen, e.Good, e.Met))
	switch {
	case e.Kept:
		return false
	case e.Proven():
		return idle > forgetProven || e.Fails >= maxFailsProven && since(at, e.Good) > forgetUnproven
	}
	return idle > forgetUnproven || e.Fails >= maxFails
}

func since(at, then int64) time.Duration { return time.Duration(at-then) * time.Second }

func cut(agent string) string { return agent[:min(len(agent), MaxAgent)] }
