// Package session carries typed messages between this node and one peer, once
// the two have shaken hands.
//
// An [Engine] belongs to a host. Types are declared on it, and the stream of a
// handshake becomes a [Session] with [Engine.Attach]. Whose session it is, the
// owner keeps in a book of its own, which the engine asks: see [Peers].
//
//	e, err := session.New(session.Config{Host: h, Network: id, Obs: o, Peers: book, Deliver: deliver})
//	err = e.Set(msgtype.Spec{Name: "tx", Priority: msgtype.PriorityHigh}, true)
//
//	res, err := handshake.Open(ctx, stream, hello, verify)
//	s, err := e.Attach(ctx, stream)
//
//	err = s.Send(ctx, "tx", data, session.SendOptions{})
//
// Each side tells the other what it takes, as the first thing of a session and at
// each change: its offers. A send of what is not offered fails at once, with an
// [UnsupportedError]. The wire format is in SPEC.md.
//
// # What is promised
//
// Order: messages of one type and priority arrive in the order of their sends.
// Between types, and between priorities of one type, there is none.
//
// Loss: a Send that returns nil has queued the message to a live peer. It is
// lost only when the session or its stream ends first, and then it is counted,
// with the reason: queued = written + dropped + pending, for each type, at any
// time. Written means handed to the transport; what the transport holds when the
// connection breaks is gone. A graceful Close delivers what is queued, within
// FlushTimeout.
//
// Back-pressure: queues are bounded in bytes, per type and per peer; a full one
// refuses (TrySendPrepared) or makes wait (Send). A receiver that blocks in Deliver stops
// its own stream and no other, for as long as WriteTimeout allows.
//
// Priorities: high, normal and low share by weight what the connection's budget
// allows on its way (package pacing), with all else that is written there, so that a
// high message is not queued behind megabytes that the transport has taken already.
//
// # Goroutines
//
// A session has one, the reader of its control stream, and a timer. A type that
// is being sent has a writer, which ends 100 ms after the last message; a stream that
// is open inbound has a reader. The streams close when there has been no traffic for
// StreamIdle.
// Session.Close waits for them for a bounded time, Engine.Close until its
// context ends.
package session
