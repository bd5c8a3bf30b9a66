// Package peers decides which peers a node has: who is let in, which of two
// sessions stays, whom to dial and when, whom to avoid.
//
// The decisions are pure functions of explicit state (admit.go, tie.go,
// redial.go, score.go, bucket.go); the [Manager] keeps the state, runs the
// dials and tells subscribers what happened. It knows neither the host nor the
// session engine: dialling is the callback [Config.Connect], and ending a
// session is the function given to [Ticket.Commit].
//
// # A session's life
//
// Who opens a hello asks first; who answers one asks in the verify callback of
// the handshake:
//
//	t, r := m.Admit(p, network.DirOutbound, 0)      // opener: before its hello
//	r = t.Confirm(remote.Instance)                  // opener: in verify
//	t, r := m.Admit(p, network.DirInbound, remote.Instance) // answerer: in verify
//	r = t.Commit(sess.Close, live)                  // both: the session stands
//	t.Abort(err)                                    // both: the handshake failed
//	t.Release(reason, byRemote)                     // both: the session ended
//
// Each ticket must end with Abort or Release, in any order and however often.
// A peer has at most one session; where hellos cross or a peer comes back, the
// rule in tie.go makes both sides keep the same one.
//
// # Dialling
//
// Persistent peers are dialled for ever, with the addresses they were given;
// other peers a few times. All waits are exponential with jitter, and depend
// on why the last attempt or session ended. A peer of another chain is avoided.
//
// # Events
//
// A [Subscription] is a bounded queue that drops its oldest event when it is
// full and counts what it dropped, so that no subscriber can hold up the node.
// Events of one peer come in order.
//
// # Bounds
//
// Every map has a cap, so that peers cannot make the manager grow: sessions
// and handshakes by MaxPeers and the reserved peers, dial targets, bans,
// avoided peers, scores and rate limits by constants.
//
// # Goroutines
//
// One loop and at most MaxDials dials, between Start and Close. Close returns
// when all have ended.
package peers
