package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Two nodes have at most one session, however many connections and hellos
// there are between them, and both must keep the same one without asking each
// other. Four rules do it; each node applies them to its own state, and a
// node's state for one peer changes under one lock.
//
//  1. A node does not open a hello to a peer with which it has a session, or
//     whose hello it is answering.
//  2. When a hello comes in while an own one is under way, the one opened by
//     the smaller peer ID wins. The smaller node refuses the other's hello;
//     the larger one answers it, and finds its own refused. Rule 1 makes it
//     impossible that the smaller node has both answered and opened.
//  3. When a hello comes in while there is a session, the peer may have lost
//     its side of it, for by rule 1 it would not have opened one otherwise:
//     a peer with another instance number was restarted, and one with the same
//     has lost the session, unless the hello was under way before the session
//     was made. A hello is under way for at most the handshake timeout, so
//     only a session younger than that may stand against it.
//
//  4. A session through a relay gives way to one on a direct connection, which
//     hole punching makes a moment later. It is ended when the other one stands,
//     not before: nobody is without a session meanwhile.
//
// A handshake that is being answered counts like a session in rule 3, but only
// another instance replaces it: that one ends by itself within the timeout.
//
// A peer can only ever replace its own session, since its ID is proven by the
// connection that the hello came on.

// peerState is what a node has with one peer, for the rules above.
type peerState struct {
	opening   bool // own hello under way
	answering *contender
	live      *contender
}

// contender is a handshake being answered, or a session.
type contender struct {
	instance uint64        // the peer's, 0 unknown
	age      time.Duration // since the session was made
	relayed  bool
}

// ruling is what the rules say about one hello.
type ruling struct {
	refuse           handshake.Reason // ReasonNone: go on
	replaceAnswering bool
	replaceLive      bool
}

const alreadyConnected = handshake.ReasonAlreadyConnected

// supersedes is rule 4 for a hello on a connection, direct or not.
func (l peerState) supersedes(direct bool) bool { return l.live != nil && l.live.relayed && direct }

// mayOpen is rule 1.
func mayOpen(l peerState, direct bool) handshake.Reason {
	if l.live != nil && !l.supersedes(direct) || l.answering != nil || l.opening {
		return alreadyConnected
	}
	return handshake.ReasonNone
}

// mayAnswer is rules 2 to 4 for a hello of p with the given instance.
func mayAnswer(self, p peer.ID, l peerState, instance uint64, direct bool, timeout time.Duration) ruling {
	var v ruling
	if l.live != nil && !l.supersedes(direct) {
		if !restarted(l.live.instance, instance) && l.live.age <= timeout {
			return ruling{refuse: alreadyConnected}
		}
		v.replaceLive = true
	}
	if l.answering != nil {
		if !restarted(l.answering.instance, instance) {
			return ruling{refuse: alreadyConnected}
		}
		v.replaceAnswering = true
	}
	if l.opening && self < p {
		return ruling{refuse: alreadyConnected}
	}
	return v
}

// mayConfirm is for the opener that has been answered: by rules 1 and 2 the
// peer then has no hello of its own under way, so what is being answered here
// is dead. A session made meanwhile stands against it as in rules 3 and 4.
func mayConfirm(l peerState, instance uint64, direct bool, timeout time.Duration) ruling {
	v := ruling{replaceAnswering: l.answering != nil}
	if l.live != nil && !l.supersedes(direct) {
		if !restarted(l.live.instance, instance) && l.live.age <= timeout {
			return ruling{refuse: alreadyConnected}
		}
		v.replaceLive = true
	}
	return v
}

// restarted tells whether two instance numbers of one peer are known to differ.
func restarted(a, b uint64) bool { return a != 0 && b != 0 && a != b }
