package netservice

import (
	"errors"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/session"
)

// Stats is what a service has done since it was started.
type Stats struct {
	// Dispatcher accounts for every message that arrived or was put here.
	Dispatcher dispatcher.Stats
	// Types describes the message types of this node, by name.
	Types map[string]TypeStats
	// Peers accounts for every message sent to and received from each peer
	// with a session, by the text of its ID. It starts anew with each session.
	Peers map[string]PeerStats
	// Gossip accounts for what was broadcast, by type, and shows the mesh and
	// the score of every peer that takes part.
	Gossip GossipStats
	// Large tells how broadcasts above 256 KiB travel.
	Large LargeStats
	// Requests accounts for the calls of each method, made and served.
	Requests RequestStats
	// Reachability tells whether others can reach this node, while it runs.
	Reachability ReachabilityStats
	// Book describes the address book.
	Book BookStats
}

// TypeStats describes a message type as this node has declared it.
type TypeStats struct {
	MaxSize     int    // bytes of a payload
	Priority    string // "high", "normal" or "low", of messages that do not say otherwise
	Compression string // of large payloads, such as "s2"
	Weight      int    // what a useful message is worth when peers are compared
	Broadcast   bool
	Direct      bool // also taken from a peer that sends it to this node alone
	Relay       bool // passed on without the program saying so
	Open        bool // nodes without a handshake take part
	Subscribers int
}

// BookStats describes the address book.
type BookStats struct {
	Peers int       // known
	Good  int       // of them reached at least once
	Bans  int       // that stand
	Saved time.Time // last saved, zero for never
	Bytes int       // then
	Error string    // why the last saving failed, empty when it did not
}

// PeerStats are those of one session, as of one moment for each type.
type PeerStats struct {
	Send    SendStats
	Receive ReceiveStats
	Types   map[string]PeerTypeStats // by the name of the message type
	// StreamsRefused counts inbound message streams that were reset at once.
	StreamsRefused uint64
	// RTT is the round trip of the last ping, 0 before the first.
	RTT time.Duration
}

// PeerTypeStats are those of one message type of a session.
type PeerTypeStats struct {
	Send    SendStats
	Receive ReceiveStats
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

// ReceiveStats counts what was received and handed to the dispatcher.
type ReceiveStats struct {
	Messages uint64
	Bytes    uint64 // on the wire
	Streams  uint64 // streams accepted
	Faults   uint64
	Panics   uint64 // of the hand-over
	Errors   uint64 // of the hand-over
}

func peerStats(s session.Stats) PeerStats {
	out := PeerStats{
		Send: SendStats(s.Send), Receive: ReceiveStats(s.Receive), StreamsRefused: s.StreamsRefused, RTT: s.RTT,
		Types: make(map[string]PeerTypeStats, len(s.Types)),
	}
	for name, t := range s.Types {
		out.Types[name] = PeerTypeStats{Send: SendStats(t.Send), Receive: ReceiveStats(t.Receive)}
	}
	return out
}

// Stats returns the counts as they are now, after Stop as they were at the end.
// Before Start there are none.
func (s *NebService) Stats() Stats {
	st := Stats{Dispatcher: s.dispatcher.Stats(), Types: s.node.typeStats(), Peers: map[string]PeerStats{}, Requests: s.node.requestStats(), Book: s.node.bookStats()}
	err := s.running()
	if err != nil && !errors.Is(err, ErrStopped) || s.node.gossip == nil {
		return st
	}
	st.Gossip = gossipStats(s.node.gossip.Stats())
	if s.node.swarm != nil {
		st.Large = largeStats(s.node.swarm.Stats())
	}
	if err != nil {
		return st
	}
	st.Reachability = s.node.reachability()
	for _, k := range s.node.peerSet.all() {
		st.Peers[k.name] = peerStats(k.session.Stats())
	}
	return st
}
