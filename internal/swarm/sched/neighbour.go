package sched

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// junkFree is how many chunks that nobody asked for a neighbour may send.
const junkFree = 8

var (
	// announceRate bounds what one neighbour may announce.
	announceRate = tokenbucket.Rate{PerSecond: 10, Burst: 20}
	// strayRate bounds chunks of messages that are over: what is on its way when one ends
	// is what was asked for.
	strayRate = tokenbucket.Rate{PerSecond: 16, Burst: 2 * windowMost / (16 << 10)}
)

// neighbour is a peer that can be spoken with.
type neighbour struct {
	id    peer.ID
	takes map[string]int // types, and how large a message of each

	edges        []*edge
	ours, theirs map[uint32]*edge // by the number of this node's announcement, and of its
	next         uint32

	queue []queued // chunks to be sent

	announces tokenbucket.Bucket

	rtt      time.Duration // of the line, without queues; 0: unknown
	answer   time.Duration // smallest time from a request to its chunk; 0: unknown
	proven   bool          // it has delivered
	suspect  bool          // it was snubbed, and has delivered nothing since
	snubbed  time.Time     // it is asked for nothing before
	snubbing time.Duration // how long the next time
	banned   bool
	junk     int
	strays   tokenbucket.Bucket // chunks of messages that are not known
}

// queued is a chunk in a neighbour's queue.
type queued struct {
	l *edge
	c int
}

func newNeighbour(id peer.ID) *neighbour {
	return &neighbour{
		id: id, ours: make(map[uint32]*edge), theirs: make(map[uint32]*edge), snubbing: snubTime,
	}
}

// What is known of a chunk and a neighbour.
const (
	fHave  uint8 = 1 << iota // it has it
	fSoon                    // it has promised it before this node did
	fNamed                   // it sends it unasked
	fAsked                   // it was asked for it, once at least
	fWant                    // it wants it
	fTold                    // it was told that this node has it, or will have it
	fSent                    // it was sent
	fAgain                   // it was sent twice
)

// edge is what is between this node and a neighbour about a message.
type edge struct {
	m *Message
	p *neighbour

	known   bool   // the neighbour has announced it
	their   uint32 // under this number
	told    bool   // it was announced to the neighbour
	our     uint32
	open    bool // the neighbour is told what is here
	all     bool // it has all of it
	refused bool // it does not want to hear of it
	againAt time.Time
	tries   int

	flags  []uint8
	out    int       // bytes asked and not yet here
	heard  time.Time // when the last part of a chunk came, or the first was asked for
	grown  int       // hop by hop: what the window has grown by
	pushed int       // of the source: chunks in the queue
	served int       // chunks
}

// edge finds or makes what is between a message and a neighbour.
func (s *State) edge(m *Message, p *neighbour) *edge {
	for _, l := range p.edges {
		if l.m == m {
			return l
		}
	}
	l := &edge{m: m, p: p, flags: make([]uint8, m.k)}
	p.edges = append(p.edges, l)
	m.edges = append(m.edges, l)
	return l
}

// about finds what a frame of a neighbour is about.
func (p *neighbour) about(f *wire.Frame) *edge {
	if f.Yours {
		return p.ours[f.Number]
	}
	return p.theirs[f.Number]
}

// ref is a frame about the edge's message, with the number that both know it by.
func (l *edge) ref(k wire.Kind) *wire.Frame {
	if l.told {
		return &wire.Frame{Kind: k, Number: l.our}
	}
	return &wire.Frame{Kind: k, Number: l.their, Yours: true}
}

// remove forgets what is between a message and a neighbour.
func (l *edge) remove() {
	p := l.p
	p.edges = slices.DeleteFunc(p.edges, func(o *edge) bool { return o == l })
	p.queue = slices.DeleteFunc(p.queue, func(q queued) bool { return q.l == l })
	if p.ours[l.our] == l {
		delete(p.ours, l.our)
	}
	if p.theirs[l.their] == l {
		delete(p.theirs, l.their)
	}
}

// offers tells whether the neighbour can be asked for a chunk, and whether it has it.
func (l *edge) offers(c int) (offers, has bool) {
	f := l.flags[c]
	return f&(fHave|fSoon) != 0, f&fHave != 0
}

func (p *neighbour) snub(now time.Time) bool { return p.banned || now.Before(p.snubbed) }
