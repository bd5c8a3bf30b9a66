// Package sched decides how large messages are spread in chunks: whom to tell of one,
// which chunk to ask of whom, what to promise, what to serve, and when to give up. It
// has no goroutine, no clock, no lock, no input and output, and no random source but
// the one it is given; the same events in the same order have the same effects.
//
//	s := sched.New(sched.Config{Memory: 64 << 20}, rand.New(rand.NewPCG(1, 2)))
//	effects := s.Step(sched.Event{Kind: sched.Received, Peer: p, Frame: &frame}, now)
//
// An [Event] is something that happened: a peer came, a frame was read, a header was
// validated, time has passed. An [Effect] is something to be done, in the order given.
// Whoever calls Step owns the State while it runs.
//
// # The way of a message
//
//	ANNOUNCE ──► waiting ──► checking ──► fetching ──► validating ──► serving ──► forgotten
//	             for space   its header   chunks       the whole      60 s
//
// A message whose header was accepted is shown to the neighbours before any chunk is
// here, and each chunk is passed on as it comes (cut-through). One without a header,
// or of a type whose headers nobody checks, is shown when the whole was accepted (hop
// by hop).
//
// # Promises
//
// A node tells its neighbours which chunks it has, and which it has asked for: these
// it will have soon, and can be asked for already. That saves a round trip at each
// hop. A promise counts only if it came before this node's own promise of the same
// chunk; otherwise nodes would wait for each other in circles.
//
// # Of whom, and how much
//
// A connection has only so much on its way, so what is twice as far away brings half as
// much in the same time: it is asked for half as much, and sent half as much unasked. Of
// those that offer a chunk, the one is asked of whom it is expected first, by the round
// trip, by what it is asked for already, and by whether it has the chunk or only promises
// it.
//
// The source deals each chunk to one neighbour, which it names it to. That one names it on
// to its own neighbours and sends it to them unasked, since nobody else can have it: that
// saves a round trip, and costs hardly a byte twice, where the same at all hops would.
//
// # The files
//
// state.go holds the State, message.go and neighbour.go what is known of a message and
// of a peer. announce.go takes and makes announcements, choose.go decides what to ask
// of whom, receive.go takes chunks, serve.go hands them out, patience.go takes requests
// away from those who do not deliver, admit.go shares the space among the neighbours,
// memory.go bounds it all.
package sched
