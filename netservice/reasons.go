package netservice

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/neterr"
)

// DisconnectReason says why a peer was refused or a session ended, on this side or
// the other. It is a number that both sides know and that never changes its
// meaning, a text, and an error that matches with errors.Is, also where it is
// wrapped; as an error it is a net.Error. Of a newer peer there may be numbers that
// this version does not know.
type DisconnectReason uint16

// The reasons. The zero value means that there is none.
const (
	ReasonNone             = DisconnectReason(handshake.ReasonNone)             // nothing to object to
	ReasonRequested        = DisconnectReason(handshake.ReasonRequested)        // the application closed the connection
	ReasonShuttingDown     = DisconnectReason(handshake.ReasonShuttingDown)     // the node is stopping
	ReasonWrongVersion     = DisconnectReason(handshake.ReasonWrongVersion)     // no common protocol version
	ReasonWrongChain       = DisconnectReason(handshake.ReasonWrongChain)       // another chain ID
	ReasonWrongGenesis     = DisconnectReason(handshake.ReasonWrongGenesis)     // the same chain ID over another genesis
	ReasonSelf             = DisconnectReason(handshake.ReasonSelf)             // the node reached itself
	ReasonTooManyPeers     = DisconnectReason(handshake.ReasonTooManyPeers)     // no free slot
	ReasonAlreadyConnected = DisconnectReason(handshake.ReasonAlreadyConnected) // the two have a session or a handshake that wins
	ReasonBanned           = DisconnectReason(handshake.ReasonBanned)           // the peer is banned
	ReasonApplication      = DisconnectReason(handshake.ReasonApplication)      // the application's check refused
	ReasonTimeout          = DisconnectReason(handshake.ReasonTimeout)          // the handshake took too long
	ReasonProtocol         = DisconnectReason(handshake.ReasonProtocol)         // a message that the protocol does not allow
	ReasonPingTimeout      = DisconnectReason(handshake.ReasonPingTimeout)      // no answer to the library's ping
	ReasonSlowReader       = DisconnectReason(handshake.ReasonSlowReader)       // the peer does not read fast enough
	ReasonTransportLost    = DisconnectReason(handshake.ReasonTransportLost)    // the connection broke
	ReasonNotNebnet        = DisconnectReason(handshake.ReasonNotNebnet)        // the peer speaks none of the hello protocols
	ReasonReplaced         = DisconnectReason(handshake.ReasonReplaced)         // a newer session with the same peer took over
	ReasonUnreachable      = DisconnectReason(handshake.ReasonUnreachable)      // no connection could be made
	ReasonRateLimited      = DisconnectReason(handshake.ReasonRateLimited)      // too many attempts in a short time
)

// Code is the number of the reason on the wire.
func (r DisconnectReason) Code() uint16 { return uint16(r) }

// Known tells whether this version knows the reason.
func (r DisconnectReason) Known() bool { return handshake.Reason(r).Known() }

// String is the reason in words.
func (r DisconnectReason) String() string { return handshake.Reason(r).String() }

// Error is the reason in words.
func (r DisconnectReason) Error() string { return r.String() }

// Err is the reason as an error, nil for ReasonNone.
func (r DisconnectReason) Err() error {
	if r == ReasonNone {
		return nil
	}
	return r
}

// Label is the reason as a part of a metric name: fixed text without spaces,
// "other" for one that this version does not know.
func (r DisconnectReason) Label() string { return handshake.Reason(r).Label() }

// Permanent tells whether trying again soon is useless, because the reason
// lies in what the two nodes are.
func (r DisconnectReason) Permanent() bool { return handshake.Reason(r).Permanent() }

// Timeout tells whether the reason is a time that ran out.
func (r DisconnectReason) Timeout() bool { return handshake.Reason(r).Timeout() }

// Temporary is there for net.Error only: everything but a permanent reason.
func (r DisconnectReason) Temporary() bool { return handshake.Reason(r).Temporary() }

// As makes it the handshake's own type, for errors of a PeerCheck.
func (r DisconnectReason) As(target any) bool {
	own, ok := target.(*handshake.Reason)
	if ok {
		*own = handshake.Reason(r)
	}
	return ok
}

// RefusedError is the outcome of a handshake that one side refused. It matches its
// Reason and its cause with errors.Is.
type RefusedError struct {
	Reason   DisconnectReason // what was said on the wire
	ByRemote bool             // whether the other side refused
	// What the other side said of itself, empty where it said nothing.
	ChainID                string // may hold any characters: clean it before showing it
	Genesis                []byte
	MinVersion, MaxVersion uint32
	Agent                  string // cleaned
	// Text is what the application of the refusing side says, cleaned; see Refusal.
	Text string
	// Err is what a PeerCheck returned, nil when nothing else is known.
	Err error

	text string
}

// Error says who refused, and why.
func (e *RefusedError) Error() string {
	if e.text == "" {
		return e.Reason.String()
	}
	return e.text
}

// Unwrap gives the reason and the cause.
func (e *RefusedError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// Refusal is what a PeerCheck returns, or ClosePeer gets, to tell the other side more
// than a reason: it has the text in RefusedError.Text and PeerEvent.Text.
type Refusal struct {
	Reason DisconnectReason // ReasonNone stands for ReasonApplication
	Text   string           // at most 128 bytes are sent, without control characters
}

// Error is the text, or the reason where there is none.
func (e *Refusal) Error() string { return e.inner().Error() }

// Unwrap returns the reason.
func (e *Refusal) Unwrap() error { return e.reason() }

func (e *Refusal) reason() DisconnectReason {
	if e.Reason == ReasonNone {
		return ReasonApplication
	}
	return e.Reason
}

// inner is the refusal for the handshake, whose text is that of err.
func (e *Refusal) inner() *handshake.Refusal {
	return &handshake.Refusal{Reason: handshake.Reason(e.reason()), Text: e.Text, Err: e}
}

// outcome is an error of a handshake as programs see it: with the types of this
// package in place of those of the handshake's own.
func outcome(p peer.ID, err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{p, err}
}

type outcomeError struct {
	peer peer.ID
	error
}

func (e *outcomeError) Error() string { return fmt.Sprintf("connect to %s: %v", e.peer, e.error) }

// Timeout is for net.Error: of a dial that a deadline ended, libp2p says no.
func (e *outcomeError) Timeout() bool {
	return neterr.IsTimeout(e.error) || errors.Is(e.error, handshake.ReasonTimeout)
}

// Temporary is for net.Error.
func (e *outcomeError) Temporary() bool { return e.Timeout() }

// Unwrap gives the error as it came.
func (e *outcomeError) Unwrap() error { return e.error }

// As finds what the handshake's own types say.
func (e *outcomeError) As(target any) bool {
	switch target := target.(type) {
	case *DisconnectReason:
		r, ok := errors.AsType[handshake.Reason](e.error)
		*target = DisconnectReason(r)
		return ok
	case **RefusedError:
		r, ok := errors.AsType[*handshake.RefusedError](e.error)
		if ok {
			*target = &RefusedError{
				Reason: DisconnectReason(r.Reason), ByRemote: r.ByRemote,
				ChainID: r.Remote.ChainID, Genesis: r.Remote.Genesis, Agent: r.Remote.Agent,
				MinVersion: r.Remote.VersionMin, MaxVersion: r.Remote.VersionMax,
				Err: r.Err, Text: r.Text, text: r.Error(),
			}
		}
		return ok
	}
	return false
}
