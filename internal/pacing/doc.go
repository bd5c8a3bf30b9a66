// Package pacing decides how much may be on its way on one connection, and whose
// turn it is to write.
//
// Bytes that the transport has taken can no longer be overtaken: they wait in the
// multiplexer, in the kernel, in a router. So everything that a node sends on a
// connection (messages, broadcasts, answers, chunks, tunnels) asks one [Budget]
// before each write. The budget keeps no more on the way than the measured round
// trip needs, shares it among three weighted classes, and lets a small message of
// class [High] pass at once.
//
//	budgets := pacing.New(host)           // one for each host
//	defer budgets.Close()
//
//	st = budgets.Stream(st, pacing.Low)   // any stream: its writes are paced
//	n, err := st.Write(data)
//
// A writer with queues of its own, whose class changes from write to write, holds
// a [Flow] and asks by itself:
//
//	flow := pacing.NewFlow(budgets.Of(conn))
//	n, err := flow.Begin(ctx, pacing.Normal, len(data)) // waits; n <= len(data)
//	m, err := raw.Write(data[:n])
//	flow.End(m)
//	flow.Leave()                                        // nothing more for now
//
// # The way of a write
//
//	Begin ──> scheduler (Fair: whose turn) ──> window (how much) ──> raw.Write ──> End
//	              ▲                               ▲                                │
//	              │ a write that takes long       │ delay, bytes arrived           ▼
//	              └─ is no longer waited for      └──── Marked <── pong … ping <── mark
//
// The package starts no goroutine. A writer that may not write yet waits in a
// queue of its class, first come first served; what frees room (End, Leave,
// Marked, a timer) lets the next ones go.
//
// # What is on its way
//
// Streams of tunnels and of gossip have no acknowledgements, so the budget makes
// its own, for all of them at once: a mark. It is a ping on the session's control
// stream. A multiplexed connection keeps the order of what is written to it, so
// the answer says that everything written before the ping has arrived at the other
// multiplexer, and the time it took says how long the queue is. (Over QUIC the
// order holds but for a packet or so.) A write that is still under way when a mark
// comes back that was made after its beginning waits for its own stream's
// receiver: its bytes are not on the way and hold up nobody.
//
// The window follows the delay as LEDBAT does (RFC 6817): it grows while the delay
// is below the round trip and a target, and shrinks above. Whoever answers the
// marks calls [Budget.Attach]; without it (a peer without a session) nothing is
// known of the way, writes only take turns, and the transport's own back-pressure
// is the limit.
//
// A fast line has a window that is never filled, so that a write costs two
// uncontended locks and two looks at the clock.
//
// # Life
//
// [Budget.LastLife] is when the peer last gave a sign of life: a byte read
// ([Budget.Heard], which a paced stream calls by itself), a mark that came back,
// or a write that had to wait and went on.
//
// # Progress
//
// Deadlines follow progress: whatever waits for bytes of a peer gives them
// [LowestRate], and a moment for the beginning.
package pacing
