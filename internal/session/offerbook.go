package session

import (
	"cmp"
	"slices"
)

// offerBook is what the peer offers. The zero value is empty; it is not safe for
// concurrent use.
type offerBook struct {
	entries []bookEntry // by number
	bytes   int
}

type bookEntry struct {
	entry
	size int // on the wire
}

// apply notes an entry that took size bytes on the wire. It gives what stood
// under the number before, and a fault when the peer offers more than it may.
func (b *offerBook) apply(e entry, size int) (was Offer, fault Fault) {
	i, found := slices.BinarySearchFunc(b.entries, e.number, func(e bookEntry, n uint32) int { return cmp.Compare(e.number, n) })
	if found {
		was = b.entries[i].offer
		b.bytes -= b.entries[i].size
	}
	switch e.offer.Kind {
	case KindMessage, KindMethod, KindLarge:
	default: // withdrawn, or of a kind that nobody here asks for
		if found {
			b.entries = slices.Delete(b.entries, i, i+1)
		}
		return was, FaultNone
	}
	b.bytes += size
	if found {
		b.entries[i] = bookEntry{e, size}
	} else {
		b.entries = slices.Insert(b.entries, i, bookEntry{e, size})
	}
	if len(b.entries) > MaxOffers || b.bytes > MaxOfferBytes {
		return was, FaultOffers
	}
	return was, FaultNone
}

// largest is what is offered of a kind, by name.
func (b *offerBook) largest(kind Kind) map[string]int {
	all := make(map[string]int)
	for i := range b.entries {
		if o := &b.entries[i].offer; o.Kind == kind && o.Properties&Taken != 0 {
			all[o.Name] = max(all[o.Name], o.MaxSize)
		}
	}
	return all
}

// find gives the offer of a name, and its number. Of two under one name, which
// nobody honest has, it is the one of the smaller number.
func (b *offerBook) find(kind Kind, name string) (o Offer, number uint32, ok bool) {
	for i := range b.entries {
		if e := &b.entries[i]; e.offer.Kind == kind && e.offer.Name == name {
			return e.offer, e.number, true
		}
	}
	return Offer{}, 0, false
}
