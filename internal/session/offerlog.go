package session

import (
	"cmp"
	"slices"
)

// offerLog is what this node offers, in the order of the last change, so that
// each session knows by one number how much of it its peer has been told. What
// changes twice meanwhile is told once. It is a value that is replaced as a
// whole at each change.
type offerLog struct {
	entries []logEntry // by version
	count   int        // of those that stand
	bytes   int        // of their entries on the wire
}

type logEntry struct {
	entry
	version uint64 // counts the changes
	size    int    // of the entry on the wire; 0 when it is withdrawn
}

// version is that of the last change.
func (l *offerLog) version() uint64 {
	if len(l.entries) == 0 {
		return 0
	}
	return l.entries[len(l.entries)-1].version
}

// find gives what stands under a number.
func (l *offerLog) find(number uint32) (o Offer, ok bool) {
	for _, e := range l.entries {
		if e.number == number && e.offer.Kind != kindWithdrawn {
			return e.offer, true
		}
	}
	return Offer{}, false
}

// with is the log after a change. The error is an *OffersError.
func (l *offerLog) with(e entry) (*offerLog, error) {
	next := &offerLog{count: l.count, bytes: l.bytes, entries: make([]logEntry, 0, len(l.entries)+1)}
	known := false
	for _, old := range l.entries {
		if old.number != e.number {
			next.entries = append(next.entries, old)
			continue
		}
		known = true
		if old.size > 0 {
			next.count--
			next.bytes -= old.size
		}
	}
	added := logEntry{entry: e, version: l.version() + 1}
	if e.offer.Kind != kindWithdrawn {
		added.size = len(appendEntry(nil, e))
		next.count++
		next.bytes += added.size
		if next.count > MaxOffers || next.bytes > MaxOfferBytes {
			return nil, &OffersError{Name: e.offer.Name}
		}
	} else if !known {
		return l, nil
	}
	next.entries = append(next.entries, added)
	return next, nil
}

// Bounds of one offers frame.
const (
	maxOfferFrame   = 16 << 10
	maxFrameEntries = 256
)

// frame appends one offers frame with the changes after a version, and tells up
// to which version it goes. Nothing is appended when there are none. A peer that
// has been told nothing need not hear of what is withdrawn.
func (l *offerLog) frame(dst []byte, after uint64) ([]byte, uint64) {
	from, _ := slices.BinarySearchFunc(l.entries, after+1, func(e logEntry, v uint64) int { return cmp.Compare(e.version, v) })
	var body []byte
	upTo, count := after, 0
	for _, e := range l.entries[from:] {
		if len(body)+e.size > maxOfferFrame || count == maxFrameEntries {
			break
		}
		upTo = e.version
		if after == 0 && e.size == 0 {
			continue
		}
		body = appendEntry(body, e.entry)
		count++
	}
	if count == 0 {
		return dst, upTo
	}
	return appendControl(dst, ctlOffers, body), upTo
}
