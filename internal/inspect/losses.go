package inspect

import (
	"cmp"
	"slices"
	"time"
)

// losses remembers what was lost of each type about a minute ago, so that an alarm
// can name the type and the way in which it is lost.
type losses struct{ marks []lossMark }

type lossMark struct {
	at time.Time
	by map[string]uint64
}

// markEvery is how far the marks are apart.
const markEvery = 10 * time.Second

func (l *losses) add(s *Snapshot) {
	if n := len(l.marks); n > 0 && s.At.Sub(l.marks[n-1].at) < markEvery {
		return
	}
	l.marks = append(l.marks, lossMark{s.At, lossesOf(s)})
	for len(l.marks) > 1 && s.At.Sub(l.marks[1].at) >= time.Minute {
		l.marks = l.marks[1:]
	}
}

// since lists what has been lost since the oldest mark, the most first.
func (l *losses) since(s *Snapshot) (out []loss) {
	if len(l.marks) == 0 {
		return nil
	}
	was := l.marks[0].by
	for what, n := range lossesOf(s) {
		if more := grown(was[what], n); more > 0 {
			out = append(out, loss{Name: what, Count: more})
		}
	}
	slices.SortFunc(out, func(a, b loss) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// lossesOf are the counts of bad ways out, by type and way.
func lossesOf(s *Snapshot) map[string]uint64 {
	by := make(map[string]uint64)
	for _, t := range s.Types {
		for _, st := range append(inward(t), outward(t)...) {
			for _, l := range st.Lost {
				if l.Bad {
					by[t.Name+", "+st.Name+": "+l.Name] += l.Count
				}
			}
		}
	}
	return by
}

// panicsOf are the counts of panics, by where.
func panicsOf(s *Snapshot) map[string]uint64 {
	by := make(map[string]uint64)
	for _, t := range s.Types {
		for _, sub := range t.Subscribers {
			if sub.Panics > 0 {
				by["subscriber "+sub.Name+" of "+t.Name] += sub.Panics
			}
		}
		if g := t.Gossip; g != nil && g.Panics > 0 {
			by["validator of "+t.Name] = g.Panics
		}
	}
	return by
}
