// Package netservice is the networking layer of a blockchain node in one
// value: a NebService owns a Node (the libp2p host and its peers) and a
// Dispatcher (the fan-out to subscribers in this process).
//
//	type Block struct{ Height uint64 }
//	var NewBlock = netservice.Declare("newblock", netservice.JSON[Block]())
//
//	svc, err := netservice.NewNebService(netservice.Config{ChainID: "my-chain"})
//	if err != nil { return err }
//	_, err = NewBlock.Subscribe(svc, func(ctx context.Context, m netservice.Received[Block]) { fmt.Println(m.From, m.Value.Height) })
//	if err != nil { return err }
//	if err := svc.Start(); err != nil { return err }
//	defer svc.Stop()
//	if err := svc.WaitForPeers(ctx, 1); err != nil { return err }
//	if err := NewBlock.Broadcast(ctx, svc, Block{Height: 1}); err != nil { return err }
//	<-ctx.Done()
//
// # Peers
//
// A peer is a node of the same chain: same chain ID, same genesis, overlapping
// versions. Both sides check that in a handshake before anything else, and
// nothing of a node reaches a subscriber before its handshake has passed. Each
// refusal and each disconnect has a DisconnectReason that both sides know, log
// and count. There is at most one session per peer, whoever dialled.
//
// # Ordering, back-pressure and loss
//
// Messages of one type and priority that one peer sends to another arrive in
// the order in which they were sent. Between types there is no order: each type
// has a stream of its own, so that a type that stalls delays no other. Broadcasts
// keep no order.
//
// Sending queues: nil means that the message is queued to a live peer, and
// Stats tells what became of it. Queues are bounded in bytes. When one is full,
// SendMessageToPeer waits for its context, and Broadcast counts a drop for that
// peer alone. Higher priorities go first, but lower ones are never starved.
//
// What happens to a received message that a subscriber cannot take is the
// subscriber's policy: see package dispatcher. A lossless subscriber pushes
// back through the stream to the sender of that type. Broadcasts are not pushed
// back: one that finds such a subscriber full is turned away, counted, and asked
// for again later, or waits with GossipSpec.WaitWhenFull.
//
// # Goroutines and stopping
//
// All goroutines belong to the service and end before Stop returns, which is
// bounded by Config.ShutdownTimeout; its error names what did not end. A
// service is started once: to start again, make a new one. One process may run
// many services; they share nothing but libp2p's log handler.
package netservice
