package inspect

import (
	"maps"
	"slices"
)

// stage is one box of the picture of a type: what came there and what left the
// way there, so that the place where something is lost is seen.
type stage struct {
	Name  string
	About string // its entry in the glossary, where the name is none
	In    uint64
	Lost  []loss
}

// loss is one way in which messages left at a stage. Bad ones are those that an
// operator would want to mend; a duplicate is none.
type loss struct {
	Name  string
	Count uint64
	Bad   bool
}

// inward are the stages of a type from the wire to the subscribers.
func inward(t Type) []stage {
	var out []stage
	direct := stage{Name: "from peers", In: t.Direct.Received}
	direct.lose("faults", t.Direct.Faults, true)
	out = append(out, direct)
	if l := t.Large; l != nil {
		s := stage{Name: "large broadcasts", In: l.Announced}
		s.lose("header refused", l.Refused, true)
		s.lose("header deferred, then expired", l.Expired, true)
		s.lose("stalled", l.Stalled, true)
		s.lose("turned away: no room", l.TurnedAway, true)
		out = append(out, s)
	}
	if g := t.Gossip; g != nil {
		s := stage{Name: "broadcasts", In: g.Delivered + g.Duplicates + g.Rejected + g.Ignored + g.Expired + sum(g.TurnedAway)}
		s.lose("duplicate", g.Duplicates, false)
		s.lose("rejected", g.Rejected, true)
		s.lose("ignored", g.Ignored, false)
		s.lose("deferred", g.Deferred, false)
		s.lose("deferred, then expired", g.Expired, true)
		for _, why := range slices.Sorted(maps.Keys(g.TurnedAway)) {
			s.lose("turned away: "+why, g.TurnedAway[why], true)
		}
		s.lose("panics", g.Panics, true)
		out = append(out, s)
	}
	d := stage{Name: "dispatcher", In: t.Arrived.Received}
	d.lose("duplicate", t.Arrived.Duplicate, false)
	d.lose("no subscriber", t.Arrived.Unrouted, true)
	d.loseAll(t.Arrived.Dropped)
	out = append(out, d)
	for _, sub := range t.Subscribers {
		s := stage{Name: sub.Name, About: "subscriber", In: sub.Delivered}
		s.lose("duplicate", sub.Duplicate, false)
		s.loseAll(sub.Dropped)
		s.lose("panics", sub.Panics, true)
		out = append(out, s)
	}
	return out
}

// outward are the stages of a type from this node to the wire.
func outward(t Type) []stage {
	sent := stage{Name: "to peers", In: t.Sent.Queued}
	sent.loseAll(t.Sent.Dropped)
	out := []stage{sent}
	if g := t.Gossip; g != nil {
		s := stage{Name: "own broadcasts", In: g.Published}
		s.lose("met nobody", g.Unsent, true)
		s.lose("copies dropped at full queues", g.Dropped, true)
		out = append(out, s)
	}
	return out
}

func (s *stage) lose(name string, n uint64, bad bool) {
	if n > 0 {
		s.Lost = append(s.Lost, loss{name, n, bad})
	}
}

func (s *stage) loseAll(by map[string]uint64) {
	for _, why := range slices.Sorted(maps.Keys(by)) {
		s.lose("dropped: "+why, by[why], true)
	}
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
