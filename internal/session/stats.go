package session

import (
	"maps"
	"time"
)

// DropReason says why a message that was queued was not written.
type DropReason uint8

// The reasons; their names end metric names.
const (
	DropClosed      DropReason = iota // the session ended
	DropReset                         // the peer reset the stream in the middle of it
	DropSlow                          // the peer did not read for WriteTimeout
	DropUnsupported                   // the peer does not know the type
	DropOpen                          // no stream could be opened
	dropReasons
)

var dropNames = [dropReasons]string{"closed", "reset", "slow", "unsupported", "open"}

func (r DropReason) String() string {
	if r < dropReasons {
		return dropNames[r]
	}
	return "other"
}

// SendStats counts what was sent. At any time
//
//	Queued = Written + sum of Dropped + Pending
//
// Written means handed to the transport in full. Bytes are those on the wire,
// frame headers included, after compression.
type SendStats struct {
	Queued       uint64
	Written      uint64
	WrittenBytes uint64
	Dropped      map[string]uint64 // by reason
	Pending      int               // messages queued or being written
	PendingBytes int
	Refused      uint64 // messages not taken, each once: no room, not supported, session over
	Streams      uint64 // streams opened
}

// sent is what a send queue counts for its SendStats.
type sent struct {
	queued, written, bytes, refused uint64
	streams                         uint32
	dropped                         *[dropReasons]uint64 // nil while there are none
}

func (s *sent) drop(why DropReason, count int) {
	if count == 0 {
		return
	}
	if s.dropped == nil {
		s.dropped = new([dropReasons]uint64)
	}
	s.dropped[why] += uint64(count)
}

func (s *sent) stats() SendStats {
	st := SendStats{
		Queued: s.queued, Written: s.written, WrittenBytes: s.bytes,
		Refused: s.refused, Streams: uint64(s.streams), Dropped: make(map[string]uint64),
	}
	if s.dropped == nil {
		return st
	}
	for r, n := range s.dropped {
		if n > 0 {
			st.Dropped[DropReason(r).String()] = n
		}
	}
	return st
}

// ReceiveStats counts what was received and handed to Deliver.
type ReceiveStats struct {
	Messages uint64
	Bytes    uint64 // on the wire
	Streams  uint64 // streams accepted
	Faults   uint64
	Panics   uint64 // of Deliver
	Errors   uint64 // of Deliver
}

// TypeStats are those of one message type.
type TypeStats struct {
	Send    SendStats
	Receive ReceiveStats
}

// Stats are those of one session, as of one moment per type.
type Stats struct {
	Send    SendStats
	Receive ReceiveStats
	Types   map[string]TypeStats
	// StreamsRefused counts inbound message streams that were reset at once.
	StreamsRefused uint64
	// RTT is the round trip of the last ping, 0 before the first.
	RTT time.Duration
}

func (a *SendStats) add(b SendStats) {
	a.Queued += b.Queued
	a.Written += b.Written
	a.WrittenBytes += b.WrittenBytes
	a.Pending += b.Pending
	a.PendingBytes += b.PendingBytes
	a.Refused += b.Refused
	a.Streams += b.Streams
	if a.Dropped == nil {
		a.Dropped = maps.Clone(b.Dropped)
		return
	}
	for k, n := range b.Dropped {
		a.Dropped[k] += n
	}
}

func (a *ReceiveStats) add(b ReceiveStats) {
	a.Messages += b.Messages
	a.Bytes += b.Bytes
	a.Streams += b.Streams
	a.Faults += b.Faults
	a.Panics += b.Panics
	a.Errors += b.Errors
}
