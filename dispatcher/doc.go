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
// # The way of a message
//
// A message type with its subscriptions is a topic. A message passes two queues
// and two goroutines at most:
//
//	PutMessage          the publisher's goroutine: finds the topic, computes the
//	    |               key for the duplicate filter, takes a credit from every
//	    |               lossless subscription, or waits for it
//	    v
//	inbox of the topic  QueueSize, QueueBytes
//	    |
//	    v
//	the loop            one goroutine for all topics: offers each message to each
//	    |               subscription of its topic; never waits for any of them
//	    +-------------> channel of a subscriber, while there is space
//	    v
//	queue of a          WithQueue, WithQueueBytes, and a policy
//	subscription
//	    |
//	    v
//	its own goroutine   calls the handler, or Deliver of another module's
//	                    Subscriber, or sends on the channel of a lossless
//	                    subscriber; a loop over All or Messages takes for itself
//
// Between loop and queue, a subscription with the policy NewestPerKey has one
// more of each, where the key function runs.
//
// So code of the user's never runs in the loop, and no lock is held while it
// runs: what blocks there or panics delays and loses nothing for others. Who
// waits for whom: a goroutine behind a queue waits for the code it runs; a
// publisher waits for lossless subscriptions of its own topic that are full;
// the loop waits for messages. Nothing else waits.
//
// # Order
//
// Messages of one type reach each subscriber in the order in which PutMessage
// took them, and each exactly once. Messages of several types have no order
// among each other. A handler with several workers begins them in order.
//
// # Back-pressure and loss
//
// What happens when a subscription's queue or channel is full is its Policy:
// drop the newest, drop the oldest, keep the newest per key, or Lossless. A
// lossless subscription promises a place for every message before it is
// admitted: it has as many credits as its queue has places. While it has none
// left, PutMessage of that type waits. Other types are not delayed. What the
// others of the same type have got already does not wait either.
//
// Queues are shared fairly among senders (MessageFrom). When a queue is full,
// the sender that holds the most of it loses a message. Publishers that wait
// are admitted in the order of their coming for each sender, and the senders in
// turns. While there is space, none of that costs anything.
//
// Every message that PutMessage has received is accounted for in Stats:
//
//	received = delivered + duplicate + dropped + unrouted + queued
//
// Delivered means that at least one subscription took it. What a subscriber
// loses, also afterwards, is counted under its name.
//
// # Duplicates
//
// A subscriber whose DoFilter is true is not given a message that it has taken
// before. What it had no space for, or was dropped again to make space, it has not
// taken: it gets the next copy. A subscriber that does not filter gets every
// copy. The filter of a type is bounded by Config.FilterSize. It compares 128
// bits of keyed hash over the payload of a BasicMessage, and over Hash of any
// other Message; two different messages are taken for the same with a
// probability of about 2^-127 times the number of messages remembered, as long
// as the keys are not known.
//
// # Goroutines
//
// Start starts one, the loop. A handler has as many as it has workers; a
// lossless channel, a key function and a Subscriber of another module have one
// each. They run from Register (or Start) until the subscriber is deregistered
// or the dispatcher stopped. Methods of a Message run in the publisher's
// goroutine.
//
// # Stop
//
// Stop admits nothing more, hands over what was admitted, lets handlers empty
// their queues, waits for every goroutine, and is bounded in time. What it
// could not deliver, and which subscriber has not returned, is in its error. A
// handler must not wait for Stop.
package dispatcher
