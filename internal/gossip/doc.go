// Package gossip broadcasts typed messages to a whole network over GossipSub
// (go-libp2p-pubsub), each node talking to a bounded number of peers.
//
// A message type is a topic. An [Engine] declares topics, joins them, and
// publishes; what arrives is validated and handed to one function, Deliver,
// without a buffer that could drop in between:
//
//	e, err := gossip.New(gossip.Config{Host: h, Network: id, Deliver: deliver})
//	err = e.Start()
//	err = e.Declare(gossip.Topic{Type: "tx", Validate: check})
//	err = e.Join("tx")
//	err = e.Publish(ctx, "tx", data)
//	err = e.Close(ctx)
//
// # What is promised
//
//   - Every message that arrives is counted once: delivered, duplicate,
//     rejected, ignored, deferred or turned away, per type. Stats shows it.
//     Not counted are messages of graylisted peers, of types that are not
//     joined, and in frames that are refused as a whole, of which the faults
//     are.
//   - A message turned away under load (validators busy, subscriber full, its
//     parking full) is not remembered as seen: the next copy is taken, a peer
//     that announces it is asked for it, and once there is room its sender is
//     asked to repeat it, as long as the sender still has it
//     (Params.HistoryLength heartbeats).
//   - Publish returns nil only if at least one peer's queue took the message,
//     or if it waits, bounded in number, bytes and time, for the first peer.
//   - Only members take part in a topic that is not open: a peer's gossip
//     streams are not read, and none is opened to it, before Member says yes.
//   - A peer that appears, or is grafted, is told at once which messages of the
//     last heartbeats this node has, so that what was said during a short cut, or
//     while a mesh forms, reaches it.
//
// # What is not
//
// Order is not kept. A message may be lost when it leaves the gossip window
// (Params.HistoryGossip heartbeats) before a node is reached. After Config.SeenTTL
// a replayed message counts as new: the validator has the last word on those.
//
// # Lanes
//
// All topics share one stream per peer and direction, apart from those declared
// Bulk: they have streams, and a limit of size, of their own, so that a small
// message never waits behind a large one that is being written. Either kind of
// streams is there from the first topic on that needs it.
//
// # Goroutines
//
// An engine runs one goroutine of its own, those of go-libp2p-pubsub (some ten,
// and three per peer, for each lane), and one per message under validation. Close waits for its
// own, for all stream handlers and for validators; those of go-libp2p-pubsub end
// with its context within the same instant, but cannot be waited for.
//
// # Message identity
//
// Unsigned networks (the default) name a message by the first 20 bytes of
//
//	SHA-256("nebnet/gossip/1" ‖ uvarint(len(topic)) ‖ topic ‖ data)
//
// where topic is the topic's full name, which holds network and type. Signed
// networks use libp2p's default, author and sequence number. Both can be
// replaced with Config.MessageID or Topic.MessageID.
package gossip
