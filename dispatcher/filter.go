package dispatcher

import "hash/maphash"

// key is 128 bits of keyed hash, from two independent seeds: with 64 bits two
// different messages of the 2^32 or so that a node sees in its life would
// collide, and one of them would be lost for good. The zero key stands for one
// not computed yet.
type key struct{ a, b uint64 }

// seeds make the keys of one type unpredictable from outside.
type seeds struct{ a, b maphash.Seed }

func newSeeds() seeds { return seeds{maphash.MakeSeed(), maphash.MakeSeed()} }

// of returns the key of a message: of the payload of our own type, whose type
// name is that of the filter anyway, and of Hash for any other.
func (s *seeds) of(m Message) key {
	bm, ok := m.(*BasicMessage)
	if !ok {
		if c, carries := m.(Carrier); carries {
			bm = c.Basic()
			ok = bm != nil
		}
	}
	if ok {
		return key{maphash.Bytes(s.a, bm.data) | 1, maphash.Bytes(s.b, bm.data)}
	}
	h := m.Hash()
	// A prefix apart: a hash is no payload.
	return key{maphash.String(s.b, h) | 1, maphash.String(s.a, h)}
}

// filter remembers which subscribers have taken which messages: a bit per
// subscriber, so that a message lost by one and taken by another is given to
// the first when it comes again. It has two generations of which the older is
// forgotten when the younger is full: the last limit messages are remembered
// at least, and never more than twice as many.
type filter struct {
	limit int
	cur   generation
	old   generation
}

// generation is a hash table with linear probing. A slot without bits is free.
type generation struct {
	slots []slot // length is a power of two, or zero
	used  int
}

type slot struct {
	key  key
	bits uint64
}

func newFilter(limit int) *filter { return &filter{limit: limit} }

// add marks the message as taken by the subscribers with those bits and
// returns the bits that were not marked before.
func (f *filter) add(k key, bits uint64) (fresh uint64) {
	if s := f.cur.find(k); s != nil {
		fresh = bits &^ s.bits
		s.bits |= bits
		return fresh
	}
	var was uint64
	if s := f.old.find(k); s != nil {
		was = s.bits
		f.old.delete(s)
	}
	if f.cur.used >= f.limit {
		f.cur, f.old = f.old, f.cur
		f.cur.clear()
	}
	f.cur.insert(k, was|bits)
	return bits &^ was
}

// remove takes marks back.
func (f *filter) remove(k key, bits uint64) {
	for _, g := range [...]*generation{&f.cur, &f.old} {
		if s := g.find(k); s != nil {
			if s.bits&^bits == 0 {
				g.delete(s)
			} else {
				s.bits &^= bits
			}
			return
		}
	}
}

// forget takes the marks of whole subscribers back, for their bits to be used
// by others.
func (f *filter) forget(bits uint64) {
	for _, g := range [...]*generation{&f.cur, &f.old} {
		was := g.slots
		*g = generation{}
		for _, s := range was {
			if s.bits&^bits != 0 {
				g.insert(s.key, s.bits&^bits)
			}
		}
	}
}

func (g *generation) find(k key) *slot {
	if len(g.slots) == 0 {
		return nil
	}
	mask := uint64(len(g.slots) - 1)
	for i := k.b & mask; ; i = (i + 1) & mask {
		s := &g.slots[i]
		if s.bits == 0 {
			return nil
		}
		if s.key == k {
			return s
		}
	}
}

// insert adds a key that is not there.
func (g *generation) insert(k key, bits uint64) {
	if 4*(g.used+1) > 3*len(g.slots) {
		g.grow()
	}
	g.place(k, bits)
	g.used++
}

func (g *generation) place(k key, bits uint64) {
	mask := uint64(len(g.slots) - 1)
	i := k.b & mask
	for g.slots[i].bits != 0 {
		i = (i + 1) & mask
	}
	g.slots[i] = slot{k, bits}
}

func (g *generation) grow() {
	was := g.slots
	g.slots = make([]slot, max(64, 2*len(was)))
	for _, s := range was {
		if s.bits != 0 {
			g.place(s.key, s.bits)
		}
	}
}

// delete frees a used slot and moves those behind it up, so that no probe
// stops early.
func (g *generation) delete(s *slot) {
	mask := uint64(len(g.slots) - 1)
	hole := g.indexOf(s)
	for i := (hole + 1) & mask; g.slots[i].bits != 0; i = (i + 1) & mask {
		home := g.slots[i].key.b & mask
		if (i-home)&mask >= (i-hole)&mask {
			g.slots[hole] = g.slots[i]
			hole = i
		}
	}
	g.slots[hole] = slot{}
	g.used--
}

func (g *generation) indexOf(s *slot) uint64 {
	mask := uint64(len(g.slots) - 1)
	i := s.key.b & mask
	for &g.slots[i] != s {
		i = (i + 1) & mask
	}
	return i
}

func (g *generation) clear() {
	clear(g.slots)
	g.used = 0
}
