// Package gossip broadcasts typed messages to a whole network over GossipSub, each
// node talking to a bounded number of peers.
//
// A message type is a topic. An [Engine] takes part in those that it is told of, and
// publishes; what arrives is validated and handed to one function, Deliver,
// without a buffer that could drop in between:
//
//	e, err := gossip.New(gossip.Config{Host: h, Network: id, Deliver: deliver})
//	err = e.Start()
//	err = e.Set(msgtype.Spec{Name: "tx"}, true, check)
//	err = e.Publish(ctx, "tx", data)
//	err = e.Close(ctx)
//
// # The way through
//
// What GossipSub decides is in package router, a pure state machine; its frames are
// in package rpc. This package is the shell around both:
//
//	stream of a peer ─► frames ─► rpc.Decode ─► known already? ─► nothing is copied
//	                                               │ no
//	                                               ▼
//	Publish ─► signed, encoded once ─────────► router.Step ◄───── verdict ◄─┐
//	                                               │                        │
//	                             queue of each peer, control first   validate, deliver
//	                                               │                 (slots for each type,
//	                                               ▼                  shared among senders)
//	                                    few writes of up to 64 KiB
//
// Whoever has something to tell the router does so itself, under one lock, under
// which nothing blocks and no code of the program's runs; a reader does so for all
// frames that have come at once. A goroutine that owns the router and takes events in
// batches was tried in place of the lock: each caller waits for it twice a message, and
// short messages took more CPU (compare with -bench Broadcast). A message is encoded once, and the same bytes go to all peers.
//
// A third of all copies cross another one of the same message on their link. To have
// one of two mesh peers, in turn by message ID, wait 5 ms for the other one's copy was
// tried: among 30 nodes on loopback a quarter fewer copies and 0.9 of the CPU, but a
// later p50 (18 ms after 13), and on lines of 50 ms as many copies at 1.3 times the CPU
// (with and without in turns, by the commands for 30 nodes and for TestReachComparison
// below).
//
// Mesh peers are told with IDONTWANT not to send what has come, from 16 KiB on
// (Params.DontWantAbove). Among 30 services that are 20 to 100 ms apart that leaves, with
// uplinks of 1, 10 and 50 Mbit/s, of messages of 16 KiB 0.76, 0.91 and 1.00 of the bytes,
// of 32 KiB 0.72, 0.80 and 0.98, but of 8 KiB 0.94, 0.99 and 1.00 and of 4 KiB 0.97, 1.00
// and 1.01. From 50 Mbit/s on it saves hardly anything below 64 KiB, and messages of
// 16 KiB take 1.06 to 1.09 of the CPU; at 1 Mbit/s they take 0.82:
//
//	go test ./netservice -run TestDontWantAbove -v -timeout 60m -dontwant -dontwant.seeds 3 -dontwant.uplinks 1,10,50,1000 -dontwant.sizes 4,8,16,32
//
// # What is promised
//
//   - Every message that arrives is counted once: delivered, duplicate,
//     rejected, ignored, deferred or turned away, per type. Stats shows it.
//     Not counted are messages of graylisted peers, of types that are not
//     joined, and in frames that are refused as a whole, of which the faults
//     are.
//   - What a full subscriber has no space for waits in a slot of its topic, up to the
//     topic's Deadline. When many wait, the peers that bring most of the topic are not
//     read from, for as long as a hundred messages a second are taken, or 10 s.
//   - A message turned away under load (too many wait, or for too long, no place is left
//     among the deferred ones) is not remembered as seen: the next copy is taken, a peer
//     that announces it is asked for it, and once there is space its sender is
//     asked to repeat it, as long as the sender still has it
//     (Params.HistoryLength heartbeats).
//   - Slots of validators, places to wait for them, and places of deferred messages are
//     shared among the peers that send: one that sends without end keeps nobody out.
//   - Publish returns nil only if the queues of the peers that are to have it now
//     took the message, or if it waits, bounded in number, bytes and time, for the
//     first peer.
//   - What is too much for a peer is not dropped: whoever brings more for it waits,
//     its peers with it, and in the end the author, in Publish. Only a peer that
//     is several times as slow as others is not waited for; what it loses is counted.
//   - Only members take part in a topic that is not open: a peer's gossip
//     streams are not read, and none is opened to it, before Member says yes.
//   - A member that appears, or is grafted, is told at once which messages of the
//     last heartbeats this node has, so that what was said during a short cut, or
//     while a mesh forms, reaches it. What a peer's queue lost is announced to it a
//     heartbeat later.
//   - Memory grows with what has come, never with what a peer claims, and is bounded
//     whatever peers send.
//
// # What is not
//
// Order is not kept. A message may be lost when it leaves the gossip window
// (Params.HistoryGossip heartbeats) before a node is reached. After Config.SeenTTL
// a replayed message counts as new: the validator has the last word on those.
//
// # Streams
//
// There is one stream for each peer and direction, with the protocols that everybody
// knows. Messages of more than 256 KiB do not go there, but to members whom Config.Large
// does not serve; which way a message goes depends on its size alone. Here they are
// validated, counted and known, whichever way they come.
//
// # Goroutines
//
// An engine runs one goroutine of its own, one for each stream that is read, one for
// each stream that is written while there is something to write and two heartbeats
// longer, one for each opening of a stream, and one for each message under validation; types
// without a validator are validated, and signatures of theirs verified, by the goroutine
// that reads. Close waits for all.
//
// # What it costs
//
// Compared with go-libp2p-pubsub in the same run, two nodes, 30 or 100, and idle:
//
//	go test ./internal/gossip -run xxx -bench Broadcast -benchtime 300000x
//	go test ./internal/gossip -run xxx -bench Reach -benchtime 1x -count 5 -reach.nodes 30 -reach.messages 1000
//	go test ./internal/gossip -run TestReachComparison -v -timeout 30m -reach.nodes 100 -reach.messages 1000 -reach.runs 3 -reach.systems ours,unsigned,signed,plain
//	go test ./internal/gossip -run xxx -bench IdlePeers -benchtime 1x -count 3
//	go test ./internal/gossip -run xxx -bench Topics -benchtime 100000x -count 5
//
// CPU, allocations and bytes of a delivery are in the first; the time to all nodes and
// the bytes on the wire in the second, over TCP on loopback; CPU in larger networks, and
// the bytes on lines of 50 ms, in the third, in virtual time; heap and goroutines of an
// idle peer in the fourth; many topics beside one in the last. Others' load on the
// machine shows in all of them but the counts of allocations, bytes and goroutines.
//
// # Message identity
//
// Unsigned networks (the default) name a message by the first 20 bytes of
//
//	SHA-256("nebnet/gossip/1" ‖ uvarint(len(topic)) ‖ topic ‖ data)
//
// where topic is the topic's full name, which holds network and type. Signed
// networks use libp2p's default, author and sequence number. Both can be
// replaced with Config.MessageID.
package gossip
