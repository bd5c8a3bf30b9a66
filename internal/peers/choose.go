package peers

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// provenShare is how often a peer is chosen among those that were reached
// before, where there are some. The rest are new ones: with the first kind alone
// a node would never leave old company, with the second alone whoever floods the
// book with new names would own its places.
const provenShare = 0.6

// choice is what choose needs to know.
type choice struct {
	now    time.Time
	n      int
	skip   func(*book.Entry) bool // connected, being dialled, banned
	spread spread                 // of the peers that there are; those chosen are added
	rand   func() float64
}

// choose picks up to n peers to dial of those that are due. The neighbourhood is
// drawn first and the peer in it second, so that a thousand entries of one
// network weigh no more than one of another. Of three drawn, the one whose provider
// has the fewest of our peers is taken. wait is the time until the next one is due, 0
// when none is.
func choose(entries iter.Seq[*book.Entry], c choice) (chosen []*book.Entry, wait time.Duration) {
	proven, fresh := make(pool), make(pool)
	salt := uint64(c.rand() * (1 << 53))
	for e := range entries {
		if len(e.Addrs) == 0 || c.spread.full(e.Group()) || c.skip(e) {
			continue
		}
		if d := e.Next.Sub(c.now); d > 0 {
			if wait == 0 || d < wait {
				wait = d
			}
			continue
		}
		if e.Proven() {
			proven.add(e, salt)
		} else {
			fresh.add(e, salt)
		}
	}
	pk, fk := proven.keys(), fresh.keys()
	for len(chosen) < c.n && len(pk)+len(fk) > 0 {
		from, keys := fresh, &fk
		if len(fk) == 0 || len(pk) > 0 && c.rand() < provenShare {
			from, keys = proven, &pk
		}
		e := from[draw(keys, from, c)].best
		if !c.spread.full(e.Group()) {
			c.spread.add(e.Group())
			chosen = append(chosen, e)
		}
	}
	return chosen, wait
}

// place is where entries compete for being dialled: a neighbourhood, or a peer
// without one.
type place struct {
	group netip.Prefix
	id    peer.ID
}

// pool holds the best entry of each place.
type pool map[place]contestant

type contestant struct {
	best *book.Entry
	draw uint64 // the smallest of those that are alike wins
}

// add draws for each entry by itself, so that the order in which they come, that of a
// map, changes nothing.
func (p pool) add(e *book.Entry, salt uint64) {
	k := place{group: e.Group()}
	if !k.group.IsValid() {
		k.id = e.ID
	}
	h := p[k]
	hash := fnv.New64a()
	hash.Write(binary.BigEndian.AppendUint64(nil, salt))
	hash.Write([]byte(e.ID))
	draw := hash.Sum64()
	if h.best == nil || better(e, h.best) || !better(h.best, e) && draw < h.draw {
		p[k] = contestant{e, draw}
	}
}

// better tells which of two in one neighbourhood is dialled first.
func better(a, b *book.Entry) bool {
	return cmp.Or(cmp.Compare(a.Fails, b.Fails), cmp.Compare(b.Useful, a.Useful), cmp.Compare(a.Tried, b.Tried)) < 0
}

// keys are in an order of their own, so that the same random numbers choose the
// same.
func (p pool) keys() []place {
	out := make([]place, 0, len(p))
	for k := range p {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b place) int {
		return cmp.Or(a.group.Addr().Compare(b.group.Addr()), cmp.Compare(a.id, b.id))
	})
	return out
}

// drawn is how many places are drawn to take the one that is least of what we
// have.
const drawn = 3

func draw(keys *[]place, from pool, c choice) place {
	best := -1
	for range drawn {
		i := int(c.rand() * float64(len(*keys)))
		if best < 0 || before(from[(*keys)[i]].best, from[(*keys)[best]].best, c) {
			best = i
		}
	}
	k := (*keys)[best]
	(*keys)[best] = (*keys)[len(*keys)-1]
	*keys = (*keys)[:len(*keys)-1]
	return k
}

// before tells which of two is dialled first: that of whose provider there is less,
// that was tried in vain less often, that waited longer.
func before(a, b *book.Entry, c choice) bool {
	return cmp.Or(cmp.Compare(rank(a, c), rank(b, c)), cmp.Compare(a.Tried, b.Tried)) < 0
}

func rank(e *book.Entry, c choice) int {
	n := int(e.Fails)
	if g := e.Group(); g.IsValid() {
		n += c.spread.providers[c.spread.provider(g)]
	}
	return n
}
