// Package dispatcher hands typed messages to whoever subscribes to their type,
// inside one process. It accounts for every message and loses none in silence.
//
// A node's network layer puts what it receives from peers into a Dispatcher;
// the parts of the node (block chain, transaction pool, consensus) register
// subscribers. It is useful without any network.
//
//	d, err := dispatcher.New(dispatcher.Config{})
//	if err != nil { ... }
//	blocks := dispatcher.NewHandler("chain", "block",
//		func(ctx context.Context, m dispatcher.Message) { importBlock(ctx, m.Data()) },
//		dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithFilter(true))
//	if err := d.Register(blocks); err != nil { ... }
//	if err := d.Start(); err != nil { ... }
//	defer d.Stop(context.Background())
//	err = d.PutMessage(dispatcher.NewMessage("block", "", payload))
//
// # Subscribers
//
// NewSubscriber puts messages into a channel, NewHandler calls a function in
// goroutines of its own, Messages and NewSubscription give a sequence to range
// over. Other modules may implement Subscriber. A message goes to every
// subscriber of its type.
//
// # Order
//
// Messages of one type reach each subscriber in the order in which PutMessage
// took them, and each exactly once. Messages of several types have no order
// among each other. A handler with several workers begins them in order.
//
// # Back-pressure and loss
//
// Every type has a queue of its own, bounded in messages and in bytes, and
// every subscriber has a place to put messages: its channel, or a queue. What
// happens when that is full is the subscriber's Policy: drop the newest, drop
// the oldest, keep the newest per key, or Lossless. A lossless subscriber
// without room makes its messages wait in the queue of the type, and when that
// is full too, PutMessage waits. Other types are not delayed, and other
// subscribers of the same type go on until the queue is full.
//
// Every message that PutMessage has received is accounted for in Stats:
//
//	received = delivered + duplicate + dropped + unrouted + queued
//
// Delivered means that at least one subscriber took it. What a subscriber
// loses is counted under its name, also when another one took the message.
//
// # Duplicates
//
// A subscriber whose DoFilter is true is not given a message that it has taken
// before. What it had no room for, it has not taken: it gets the next copy. A
// subscriber that does not filter gets every copy. The filter of a type is
// bounded by Config.FilterSize. It compares 128 bits of keyed hash over the
// payload of a BasicMessage, and over Hash of any other Message; two different
// messages are taken for the same with a probability of about 2^-127 times the
// number of messages remembered, as long as the keys are not known.
//
// # Goroutines
//
// Start starts one, the loop. A handler has as many as it has workers, from
// Register (or Start) until it is deregistered or the dispatcher stopped. A
// channel-backed subscriber that is lossless or keeps the newest per key has
// one while messages wait for room in its channel. The loop runs Deliver of
// subscribers of other modules and key functions (WithKey), and Hash of
// messages of other modules that were put before anybody filtered; no other
// code of the user's. No lock is held meanwhile.
//
// # Stop
//
// Stop admits nothing more, hands over what was admitted, lets handlers empty
// their queues, waits for every goroutine, and is bounded in time. What it
// could not deliver, and which subscriber has not returned, is in its error.
package dispatcher
