// Package peers decides which peers a node has: who is let in, which of two
// sessions stays, whom to dial and when, who gives way to a better one, whom to
// avoid and ban.
//
// The decisions are pure functions of explicit state (admit.go, tie.go,
// choose.go, redial.go, value.go, replace.go, score.go, bucket.go); the [Manager]
// keeps the state, runs the dials and tells subscribers what happened. What it
// knows of peers that are not here is in the address book (package book). It knows neither the host nor the
// session engine: dialling is the callback [Config.Connect], and ending a
// session is the function given to [Admission.Commit].
//
// # A session's life
//
// Who opens a hello asks first; who answers one asks in the verify callback of
// the handshake:
//
//	t, r := m.Admit(p, network.DirOutbound, 0, addr)      // opener: before its hello
//	r = t.Confirm(remote.Instance)                  // opener: in verify
//	t, r := m.Admit(p, network.DirInbound, remote.Instance, addr) // answerer: in verify
//	r = t.Commit(sess.Close, live)                  // both: the session stands
//	t.Abort(err)                                    // both: the handshake failed
//	t.Release(reason, byRemote)                     // both: the session ended
//
// Each admission must end with Abort or Release, in any order and however often.
// A peer has at most one session; where hellos cross or a peer comes back, the
// rule in tie.go makes both sides keep the same one.
//
// # Dialling
//
// Persistent peers are dialled for ever, with the addresses they were given. Of
// all others that [Manager.Learn] was told of, those are dialled that are wanted:
// up to Outbound peers of this node's own choice, and Enough in all. The choice is
// by neighbourhood first, so that many entries of one network weigh no more than
// one; two in twelve may be of one /24 or /48, and four of one autonomous system
// where that is known (package asn). More than half are peers that were reached
// before, where there are some. An address that never was a peer's is dialled a few
// times an hour, whoever names it. A dial that has not succeeded after 1 s holds no
// place any more: another peer is dialled beside it.
//
// All waits are exponential with jitter, and depend on why the last attempt or
// session ended; an attempt that took long is repeated later by as much. While
// there is no session at all, failures say nothing of those who are dialled, and
// waits stay short; when the first session stands again, all are tried anew. A
// peer of another chain is forgotten and avoided.
//
// # Replacing
//
// When all inbound slots are taken, a peer of another neighbourhood than the
// largest group's, or one that was useful before, takes the place of the one
// worth least that is not protected (replace.go). A [Value] is mostly what the
// peer was the first to bring and was accepted.
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
// and handshakes by MaxPeers and the reserved peers; the address book, avoided
// peers, scores, rate limits and memories by constants.
//
// # Goroutines
//
// One loop, one that saves the address book, and at most MaxDials dials, between
// Start and Close. Close returns
// when all have ended.
package peers
