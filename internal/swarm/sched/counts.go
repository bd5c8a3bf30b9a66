package sched

import (
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// Counts are what became of the messages and chunks of a type.
type Counts struct {
	Announced  int64 // messages that were first heard of from a neighbour
	Fetched    int64 // that came whole
	Published  int64 // that this node showed without having fetched them
	Refused    int64 // whose header was not accepted, or that were too many for a header
	Expired    int64 // whose header stayed deferred
	Stalled    int64 // of which no more chunk came
	TurnedAway int64 // for which there was no space: those of others are announced again
	// TimeToWhole is how long those fetched took in all, from the first announcement.
	TimeToWhole time.Duration

	Chunks, Duplicates, Junk, Lies int64 // received: useful, twice, never asked for, false
	PromisesKept, PromisesBroken   int64 // of neighbours: chunks asked for on a promise
	Snubs                          int64 // neighbours that said to have chunks and sent nothing
	Served                         int64 // chunks handed out
	BytesIn, BytesOut              int64 // of chunks
}

func (s *State) count(typ string) *Counts {
	c := s.counts[typ]
	if c == nil {
		c = new(Counts)
		s.counts[typ] = c
	}
	return c
}

func (s *State) countOf(m *Message) *Counts { return s.count(m.Manifest.Type) }

// Counts are those of all types that are declared, or were seen.
func (s *State) Counts() map[string]Counts {
	all := make(map[string]Counts, len(s.counts))
	for typ, c := range maps.All(s.counts) {
		all[typ] = *c
	}
	return all
}

// Tally is how the chunks of one message came and went; see Counts.
type Tally struct {
	Duplicates, PromisesKept, PromisesBroken, Served int
}

// View shows a message.
type View struct {
	ID    wire.Sum
	Type  string
	From  peer.ID
	Phase string
	Size  int
	Here  int // bytes, in whole chunks
	Out   int // bytes, in chunks that a neighbour was given or has
	Began time.Time
	// Holders are neighbours that have all of it, Told those that know of it from here.
	Holders, Told int
	Cut           bool
	Took          time.Duration // from Began to whole; 0 before that
	Tally         Tally
}

// Views shows all messages, as they came.
func (s *State) Views() []View {
	vs := make([]View, 0, len(s.list))
	for _, m := range s.list {
		vs = append(vs, s.view(m))
	}
	return vs
}

func (s *State) view(m *Message) View {
	v := View{ID: m.ID, Type: m.Manifest.Type, From: m.From, Phase: m.state.String(), Size: m.Manifest.Size, Began: m.Began, Cut: m.cut, Took: m.tookAll, Tally: m.tally}
	out := make([]bool, wire.Chunks(m.Manifest.Size))
	v.Here = min(m.n*wire.ChunkSize(v.Size), v.Size)
	for _, l := range m.edges {
		if l.all {
			v.Holders++
		}
		if l.told {
			v.Told++
		}
		for c, f := range l.flags {
			out[c] = out[c] || f&fHave != 0 || f&fSent != 0 && !slices.Contains(l.p.queue, queued{l, c})
		}
	}
	for c, o := range out {
		if o {
			v.Out += m.size(c)
		}
	}
	return v
}

func (st state) String() string {
	return [...]string{"waiting", "checking", "deferred", "fetching", "judging", "held", "serving", "gone"}[st]
}

// Used is how many bytes are set aside for messages of others, and of own ones.
func (s *State) Used() (others, own int) { return s.used, s.own }
