package netservice

import (
	"encoding/json"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/peers"
)

// PeerEventKind says what a PeerEvent is about.
type PeerEventKind uint8

// The kinds of peer events.
const (
	PeerConnected    = PeerEventKind(peers.Connected)    // a session was made
	PeerDisconnected = PeerEventKind(peers.Disconnected) // a session ended, for Reason
	PeerBanned       = PeerEventKind(peers.Banned)       // the peer was banned, until Until
	PeerRefused      = PeerEventKind(peers.Refused)      // a handshake failed, for Reason
	PeerCrowded      = PeerEventKind(peers.Crowded)      // the peer tried to have more than two connections: is its key in use elsewhere?
)

// String is the kind in a word, such as "connected".
func (k PeerEventKind) String() string { return peers.EventKind(k).String() }

// PeerEvent is one thing that happened to one peer.
type PeerEvent struct {
	Kind      PeerEventKind
	Peer      peer.ID
	Direction network.Direction // who opened the handshake: outbound is this node
	Reason    DisconnectReason  // of PeerDisconnected, PeerRefused and PeerBanned
	ByRemote  bool              // whether the reason is the peer's
	Text      string            // with the reason, of the application of that side, see Refusal; cleaned
	At        time.Time
	Until     time.Time // of PeerBanned
}

// MarshalJSON writes the kind, the direction and the reason as words.
func (e PeerEvent) MarshalJSON() ([]byte, error) {
	type plain PeerEvent
	return json.Marshal(struct {
		plain
		Kind, Direction, Reason string
	}{plain(e), e.Kind.String(), directionWord(e.Direction), e.Reason.Label()})
}

func peerEvent(e peers.Event) PeerEvent {
	return PeerEvent{
		Kind: PeerEventKind(e.Kind), Peer: e.Peer, Direction: e.Direction,
		Reason: DisconnectReason(e.Reason), ByRemote: e.ByRemote, Text: e.Text, At: e.At, Until: e.Until,
	}
}

// PeerSubscription is a bounded queue of peer events. It never blocks the
// node: when it is full, its oldest event is dropped and counted in Dropped.
// The events of one peer come in order. It is safe for concurrent use.
type PeerSubscription struct {
	sub *peers.Subscription[PeerEvent]
}

// Events is the channel of the subscription. It is closed by Close and when the
// service stops; what is queued by then can still be read.
func (s *PeerSubscription) Events() <-chan PeerEvent { return s.sub.Events() }

// All ranges over the events until the subscription is closed. Leaving the loop
// closes it.
func (s *PeerSubscription) All() iter.Seq[PeerEvent] { return s.sub.All() }

// Dropped is the number of events that this subscription has lost because it was
// full.
func (s *PeerSubscription) Dropped() uint64 { return s.sub.Dropped() }

// Close ends the subscription. It is idempotent.
func (s *PeerSubscription) Close() { s.sub.Close() }

// peerEventQueue is how many events a subscription holds.
const peerEventQueue = 256

// SubscribePeers subscribes to peer events of the given kinds; without any, to
// all but PeerRefused, which strangers can cause at will. It may be called
// before Start. The subscription ends with Close, or when the service stops.
func (s *NebService) SubscribePeers(kinds ...PeerEventKind) *PeerSubscription {
	return s.node.subscribe(peerEventQueue, kinds...)
}

func (n *Node) subscribe(size int, kinds ...PeerEventKind) *PeerSubscription {
	wanted := make([]peers.EventKind, len(kinds))
	for i, k := range kinds {
		wanted[i] = peers.EventKind(k)
	}
	return &PeerSubscription{sub: peers.Subscribe(n.peers, size, peerEvent, wanted...)}
}
