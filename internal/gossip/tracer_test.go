package gossip

import (
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// dupTracer counts duplicates of a plain router.
type dupTracer struct{ n *atomic.Int64 }

func (t *dupTracer) DuplicateMessage(*pubsub.Message)         { t.n.Add(1) }
func (t *dupTracer) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (t *dupTracer) OnClosedOutboundStream(peer.ID)           {}
func (t *dupTracer) Join(string)                              {}
func (t *dupTracer) Leave(string)                             {}
func (t *dupTracer) Graft(peer.ID, string)                    {}
func (t *dupTracer) Prune(peer.ID, string)                    {}
func (t *dupTracer) ValidateMessage(*pubsub.Message)          {}
func (t *dupTracer) DeliverMessage(*pubsub.Message)           {}
func (t *dupTracer) RejectMessage(*pubsub.Message, string)    {}
func (t *dupTracer) ThrottlePeer(peer.ID)                     {}
func (t *dupTracer) RecvRPC(*pubsub.RPC)                      {}
func (t *dupTracer) SendRPC(*pubsub.RPC, peer.ID)             {}
func (t *dupTracer) DropRPC(*pubsub.RPC, peer.ID)             {}
func (t *dupTracer) UndeliverableMessage(*pubsub.Message)     {}
