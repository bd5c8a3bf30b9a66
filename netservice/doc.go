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
// SendMessageToPeer and Broadcast wait for their context; a peer that is several
// times as slow as others is not waited for without end. Higher priorities go first,
// but lower ones are never starved.
//
// What happens to a received message that a subscriber cannot take is the
// subscriber's policy: see package dispatcher. A lossless subscriber pushes
// back through the stream to the sender of that type. Broadcasts are pushed back
// too, through the peers that bring them to their authors, for as long as the
// subscriber takes a hundred a second, or 10 s. Then they are turned away, counted,
// and asked for again later.
//
// # The way of a message
//
// A received message passes three goroutines and two queues, and takes no lock
// that all peers share, but those of the queues themselves:
//
//	the peer's stream                     one for each peer and type
//	  │  the stream's reader              a goroutine for each stream that is open
//	  ▼
//	queue of the type                     Config.DispatchQueue
//	  │  the dispatcher's loop            one goroutine
//	  ▼
//	queue of the subscriber               dispatcher.WithQueue
//	  │  the handler's goroutine          one, or dispatcher.WithWorkers
//	  ▼
//	the handler
//
// The loop waits for nobody. The reader waits for a place in the queue of the
// type, and while it does its stream is not read: the sender's window closes, and
// the sender's queue of that type for this peer fills up. No other stream waits
// with it. Where the type has a validator (Type.Validate), the reader runs it before the
// message goes into the queue. A broadcast comes in by gossip's own goroutines, waits
// for its validator, and goes on from the queue of the type as the others do.
//
// A message that is sent goes into the queue of its type for that peer, from which
// one writer for each such queue, which exists while there is something to write,
// puts it on the stream.
//
// # The way of a peer
//
// Every peer passes these states, all of them in one set, which whoever needs to
// know asks:
//
//	connected       libp2p has proved the peer's ID; whoever dialled says hello
//	awaiting hello  on the side that was dialled, for a short time
//	handshake       hello, hello, accept: is it this chain, is there a place, does
//	                WithPeerCheck agree
//	session         Peers lists it, PeerConnected is out, messages pass
//	over            goodbye with the reason, PeerDisconnected, the connection closes
//
// What a peer sends before this side has read the end of its handshake waits for
// that end, at most 64 streams of it and no longer than Config.HandshakeTimeout;
// without a handshake under way it is refused at once. A dial (ConnectPeer, or of
// a boot node) waits for the outcome in the same way. Of all this only the handshake
// waits for user code, WithPeerCheck. A session's end waits, for a
// second or two at most, until the other side has taken what was queued.
//
// # Requests
//
// What a node asks its peers for is a method, declared once with DeclareMethod,
// DeclareStream or DeclareUpload, served with one function and called in one line.
// Calls of one method to one peer share a stream; a slow answer holds up no other.
// Both sides bound calls, bytes and rate, and what is above is ErrBusy at once.
// Method.Any asks the best of the peers; Download fetches a range from all of them.
//
// # Goroutines and stopping
//
// All goroutines belong to the service and end before Stop returns, which is
// bounded by Config.ShutdownTimeout; its error names what did not end. A
// service is started once: to start again, make a new one. One process may run
// many services; they share nothing but libp2p's log handler.
package netservice
