package dispatcher

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// key is 128 bits of keyed hash, from two independent seeds: with 64 bits two
// different messages of the 2^32 or so that a node sees in its life would
// collide, and one of them would be lost for good. The zero key stands for one
// that was not computed.
type key struct{ a, b uint64 }

// seeds make the keys of one type unpredictable from outside.
type seeds struct{ a, b maphash.Seed }

func newSeeds() seeds { return seeds{maphash.MakeSeed(), maphash.MakeSeed()} }

// of returns the key of a message: of the payload of our own type, whose type
// name is that of the filter anyway, and of Hash for any other.
func (s *seeds) of(m Message) key {
	if b := basicOf(m); b != nil {
		return key{maphash.Bytes(s.a, b.data) | 1, maphash.Bytes(s.b, b.data)}
	}
	h := m.Hash()
	// The seeds the other way round: a hash is no payload.
	return key{maphash.String(s.b, h) | 1, maphash.String(s.a, h)}
}

// filter remembers which subscriptions of a topic have taken which messages.
//
// Its mutex is held while a message is offered to subscriptions that filter and
// while one that was taken is dropped again, so that both are one step with
// the change of the marks. It is locked before a subscription's mutex.
type filter struct {
	limit int

	mu     sync.Mutex // guards what follows
	tables []*table   // of 64 subscriptions each, of which each has a bit
	used   []uint64   // bits that subscriptions have, for each table
}

// mark is a subscription's place in a filter. The zero mark is none.
type mark struct {
	table int
	bit   uint64
}

// join gives a subscription that filters its mark.
func (f *filter) join() *mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, used := range f.used {
		if ^used != 0 {
			bit := uint64(1) << bits.TrailingZeros64(^used)
			f.used[i] |= bit
			return &mark{i, bit}
		}
	}
	f.tables = append(f.tables, newTable(f.limit))
	f.used = append(f.used, 1)
	return &mark{len(f.tables) - 1, 1}
}

// leave takes a subscription's mark away and forgets what it has taken, for the
// bit to be used by another.
func (f *filter) leave(s *mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := *s
	*s = mark{}
	if m.bit == 0 {
		return
	}
	f.used[m.table] &^= m.bit
	if f.used[m.table] == 0 {
		f.tables[m.table] = newTable(f.limit) // gives the memory back
	} else {
		f.tables[m.table].forget(m.bit)
	}
}

// table remembers messages, with a bit for each subscription that took one, so
// that a message lost by one and taken by another is given to the first when
// it comes again. It has two generations of which the older is forgotten when
// the younger is full: the last limit messages are remembered at least, and
// never more than twice as many.
type table struct {
	limit int
	cur   generation
	old   generation
}

// generation is a hash table with linear probing. An entry without bits is
// free.
type generation struct {
	entries []entry // length is a power of two, or zero
	used    int
}

type entry struct {
	key  key
	bits uint64
}

func newTable(limit int) *table { return &table{limit: limit} }

// add marks the message as taken by the subscriptions with those bits and
// returns the bits that were not marked before.
func (t *table) add(k key, bits uint64) (fresh uint64) {
	if e := t.cur.find(k); e != nil {
		fresh = bits &^ e.bits
		e.bits |= bits
		return fresh
	}
	var was uint64
	if e := t.old.find(k); e != nil {
		was = e.bits
		t.old.delete(e)
	}
	if t.cur.used >= t.limit {
		t.cur, t.old = t.old, t.cur
		t.cur.clear()
	}
	t.cur.insert(k, was|bits)
	return bits &^ was
}

// remove takes marks back.
func (t *table) remove(k key, bits uint64) {
	for _, g := range [...]*generation{&t.cur, &t.old} {
		if e := g.find(k); e != nil {
			if e.bits&^bits == 0 {
				g.delete(e)
			} else {
				e.bits &^= bits
			}
			return
		}
	}
}

// forget takes the marks of whole subscriptions back.
func (t *table) forget(bits uint64) {
	for _, g := range [...]*generation{&t.cur, &t.old} {
		was := g.entries
		*g = generation{}
		for _, e := range was {
			if e.bits&^bits != 0 {
				g.insert(e.key, e.bits&^bits)
			}
		}
	}
}

func (g *generation) find(k key) *entry {
	if len(g.entries) == 0 {
		return nil
	}
	mask := uint64(len(g.entries) - 1)
	for i := k.b & mask; ; i = (i + 1) & mask {
		e := &g.entries[i]
		if e.bits == 0 {
			return nil
		}
		if e.key == k {
			return e
		}
	}
}

// insert adds a key that is not there.
func (g *generation) insert(k key, bits uint64) {
	if 4*(g.used+1) > 3*len(g.entries) {
		g.grow()
	}
	g.place(k, bits)
	g.used++
}

func (g *generation) place(k key, bits uint64) {
	mask := uint64(len(g.entries) - 1)
	i := k.b & mask
	for g.entries[i].bits != 0 {
		i = (i + 1) & mask
	}
	g.entries[i] = entry{k, bits}
}

func (g *generation) grow() {
	was := g.entries
	g.entries = make([]entry, max(64, 2*len(was)))
	for _, e := range was {
		if e.bits != 0 {
			g.place(e.key, e.bits)
		}
	}
}

// delete frees a used entry and moves those behind it up, so that no probe
// stops early.
func (g *generation) delete(e *entry) {
	mask := uint64(len(g.entries) - 1)
	hole := g.indexOf(e)
	for i := (hole + 1) & mask; g.entries[i].bits != 0; i = (i + 1) & mask {
		home := g.entries[i].key.b & mask
		if (i-home)&mask >= (i-hole)&mask {
			g.entries[hole] = g.entries[i]
			hole = i
		}
	}
	g.entries[hole] = entry{}
	g.used--
}

func (g *generation) indexOf(e *entry) uint64 {
	mask := uint64(len(g.entries) - 1)
	i := e.key.b & mask
	for &g.entries[i] != e {
		i = (i + 1) & mask
	}
	return i
}

func (g *generation) clear() {
	clear(g.entries)
	g.used = 0
}
