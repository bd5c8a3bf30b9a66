package session

import (
	"cmp"
	"slices"
)

// offerBook is what the peer offers. The zero value is empty; it is not safe for
// concurrent use.
type offerBook struct {
	entries []bookEntry        // by number
	numbers map[offered]uint32 // of the names, or a peer could make every look cost thousands
	bytes   int
}

type bookEntry struct {
	entry
	size int // on the wire
}

// apply notes an entry that took size bytes on the wire. It gives what stood
// under the number before, and a fault when the peer offers more than it may.
func (b *offerBook) apply(e entry, size int) (was Offer, fault Fault) {
	i, found := b.search(e.number)
	if found {
		was = b.entries[i].offer
		b.bytes -= b.entries[i].size
		if key := (offered{was.Kind, was.Name}); b.numbers[key] == e.number {
			delete(b.numbers, key)
		}
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
	if b.numbers == nil {
		b.numbers = make(map[offered]uint32)
	}
	b.numbers[offered{e.offer.Kind, e.offer.Name}] = e.number
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

// search finds the place of a number.
func (b *offerBook) search(number uint32) (i int, found bool) {
	return slices.BinarySearchFunc(b.entries, number, func(e bookEntry, n uint32) int { return cmp.Compare(e.number, n) })
}

// find gives the offer of a name, and its number. Of two under one name, which
// nobody honest has, it is the one that was told last, or none.
func (b *offerBook) find(kind Kind, name string) (o Offer, number uint32, ok bool) {
	if number, ok = b.numbers[offered{kind, name}]; !ok {
		return Offer{}, 0, false
	}
	i, _ := b.search(number)
	return b.entries[i].offer, number, true
}
