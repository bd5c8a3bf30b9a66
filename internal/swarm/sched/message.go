package sched

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// state is where a message is on its way.
type state uint8

const (
	waiting  state = iota // for space
	checking              // a Check effect is out
	deferred              // its header is
	fetching
	validating  // a Validate effect is out, or the application comes back to it
	awaitsRelay // delivered, to be shown when the application says so
	serving
	gone
)

// Message is one message. What is exported does not change.
type Message struct {
	ID, Digest wire.Sum
	Manifest   *wire.Manifest
	From       peer.ID // of whom this node heard first; empty for an own one
	Began      time.Time

	state state
	begun bool // it had space once
	cut   bool // shown before it is whole
	k, n  int  // chunks; of them here
	have  wire.Set
	data  [][]byte // by chunk, until whole is there
	whole []byte

	asked     []*edge // by chunk: of whom; nil: of nobody
	askedAt   []time.Time
	offeredAt []time.Time // by chunk: when somebody first said to have it
	retried   []uint8     // by chunk: how often it was taken from a slow holder
	promised  wire.Set    // chunks that were promised once
	first     wire.Set    // those that the source sends this node unasked
	edges     []*edge
	lastChunk time.Time
	heard     time.Time     // when a part of a chunk came, or it had space
	tookAll   time.Duration // from Began to whole
	tally     Tally

	newHave, newSoon wire.Set // to be announced by flushAt
	flushAt          time.Time
	lookAt           time.Time // requests are looked at
	dueAt            time.Time // what is due then depends on the state
	until            time.Time // of serving
	key              string    // of deferred
	offers           int       // how often it was offered to the application in vain

	pool    []int     // of the source: chunks that are with no neighbour yet
	seeding bool      // the source has not told everybody that it has all
	drawn   time.Time // when the last chunk was taken from it

	receiver   *edge // hop by hop: the neighbour that is served
	receiverAt time.Time
}

// Whole is the data of a message that is whole, in one piece or by chunks.
func (m *Message) Whole() [][]byte {
	if m.whole != nil {
		return [][]byte{m.whole}
	}
	return m.data
}

// Took is how long it was from the first announcement to the whole.
func (m *Message) Took() time.Duration { return m.tookAll }

// Cut tells that the message was shown before it was whole.
func (m *Message) Cut() bool { return m.cut }

// shown tells whether neighbours may know of the message.
func (m *Message) shown() bool { return m.state == serving || m.cut && m.state != gone }

func (m *Message) size(c int) int {
	from, to := m.Manifest.Span(c)
	return to - from
}

func (m *Message) chunk(c int) []byte {
	if m.whole != nil {
		from, to := m.Manifest.Span(c)
		return m.whole[from:to]
	}
	return m.data[c]
}

// nextDue is when a message that is served has to be looked at.
func (m *Message) nextDue(now time.Time) time.Time {
	at := m.until
	if t := m.servedAt(); t.After(now) && t.Before(at) {
		at = t // others may wait for its memory
	}
	for _, l := range m.edges {
		if !l.againAt.IsZero() && l.againAt.Before(at) {
			at = l.againAt
		}
	}
	if m.seeding {
		if t := m.drawn.Add(m.seedPatience()); t.Before(at) {
			at = t
		}
	}
	return at
}

// newMessage makes a message of which nothing is here.
func newMessage(m *wire.Manifest, id, digest wire.Sum, now time.Time) *Message {
	k := len(m.Sums)
	return &Message{
		ID: id, Digest: digest, Manifest: m, Began: now, lastChunk: now, k: k,
		have: wire.NewSet(k), promised: wire.NewSet(k),
		asked: make([]*edge, k), askedAt: make([]time.Time, k), offeredAt: make([]time.Time, k), retried: make([]uint8, k),
		data: make([][]byte, k),
	}
}
