package inspect

import (
	"sync"
	"time"
)

// maxEvents is how many of the latest events are kept.
const maxEvents = 1000

// maxText bounds each text of an event, in bytes.
const maxText = 256

// eventLog keeps the latest events. The zero value is ready.
type eventLog struct {
	mu   sync.Mutex // guards the fields below
	ring []Event
	seq  uint64 // of the last event
}

// addLocked notes an event, and gives it its number and, where it has none, its
// time.
func (l *eventLog) addLocked(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.Kind, e.Peer, e.Reason, e.Detail = cut(e.Kind), cut(e.Peer), cut(e.Reason), cut(e.Detail)
	l.seq++
	e.Seq = l.seq
	if len(l.ring) < maxEvents {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[(l.seq-1)%maxEvents] = e
}

// filter chooses events. Its zero value chooses all.
type filter struct {
	Kind  string // exactly
	Peer  string // exactly
	After uint64 // with a higher number only
}

// listLocked returns the events that the filter chooses, the latest first.
func (l *eventLog) listLocked(f filter) []Event {
	out := []Event{}
	for i := range uint64(len(l.ring)) {
		e := l.ring[(l.seq-1-i)%maxEvents]
		if e.Seq <= f.After {
			break
		}
		if (f.Kind == "" || f.Kind == e.Kind) && (f.Peer == "" || f.Peer == e.Peer) {
			out = append(out, e)
		}
	}
	return out
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "…"
}
