// Package discovery finds peers of the same network. For now that is peer
// exchange: nodes that know one common peer learn of each other through it.
//
// [Exchange] only pulls. It asks a peer with which the node has a session, on
// a stream that it opens itself, and reads one bounded answer; nobody can push
// an address on it. The answer holds signed peer records, so the answerer can
// hold peers back but not make addresses up for them. SPEC.md has the wire
// format.
//
//	x, err := discovery.New(discovery.Config{
//		Host: h, Network: id,
//		Member: isSessionPeer, Sessions: sessionPeers,
//		Want:  freeOutboundSlots,
//		Found: func(from peer.ID, ai peer.AddrInfo, seq uint64) { manager.Learn(ai) },
//	})
//	err = x.Start()
//	x.Met(p)           // whenever a session with p has been made
//	_, err = x.Told(p, raw) // whenever p tells of itself in it
//	err = x.Close(ctx) // waits for all goroutines
//
// # When it asks
//
// A new session peer is asked at once and four times more, after 0.25, 0.75,
// 1.75 and 3.75 s, because records reach the other side by identify, shortly
// after the session. Then one random session peer is asked every 30 s; 5 s after
// the last session with a peer has ended, and after an ask that brought somebody
// new, and twice as late after each that did not, up to the 30 s. None of it
// happens while Want is zero.
//
// # What it trusts
//
// A candidate is handed on when its record verifies, it has an address that
// can be dialled directly (no names, and relays only as Config.Relay says), it is no member yet, it was
// not handed on a short while ago, and the peer that told of it has not used
// up its share of the hour. Of one candidate at most eight addresses are kept.
// A reply that breaks the protocol is a [Fault], given to Config.Penalise.
//
// What a peer tells of itself holds against all records of it that others tell of,
// whatever their numbers; a number from the future counts for nothing. Each
// record that a connected peer has told of itself is verified once: the book of
// them knows its very bytes.
//
// # Goroutines
//
// Start runs two, one that keeps the time and one that follows the host's
// events, and at most eight asks at a time. Close ends them all and waits for
// them and for the streams that are being answered. User callbacks are called
// without a lock held; their panics are recovered and counted.
package discovery
