package handshake

import "fmt"

// Reason says why a handshake was refused or a connection ended: a stable wire
// code (SPEC.md), a text and an error in one. The zero Reason means that there
// is nothing to object to. Codes that this version does not know keep their
// number and count under the label "other".
type Reason uint16

// The reasons and their wire codes. A code never changes its meaning.
const (
	ReasonNone             Reason = 0  // nothing to object to
	ReasonRequested        Reason = 1  // the application closed the connection
	ReasonShuttingDown     Reason = 2  // the node is stopping
	ReasonWrongVersion     Reason = 3  // no common protocol version
	ReasonWrongChain       Reason = 4  // another chain ID
	ReasonWrongGenesis     Reason = 5  // the same chain ID over another genesis
	ReasonSelf             Reason = 6  // the node reached itself
	ReasonTooManyPeers     Reason = 7  // no free slot
	ReasonAlreadyConnected Reason = 8  // the two have a session or a handshake that wins
	ReasonBanned           Reason = 9  // the peer is banned
	ReasonApplication      Reason = 10 // the application's check refused
	ReasonTimeout          Reason = 11 // the handshake took too long
	ReasonProtocol         Reason = 12 // a message that the protocol does not allow
	ReasonPingTimeout      Reason = 13 // no answer to the library's ping
	ReasonSlowReader       Reason = 14 // the peer does not read fast enough
	ReasonTransportLost    Reason = 15 // the connection broke
	ReasonNotNebnet        Reason = 16 // the peer speaks none of the hello protocols
	ReasonReplaced         Reason = 17 // a newer session with the same peer took over
	ReasonUnreachable      Reason = 18 // no connection could be made
	ReasonRateLimited      Reason = 19 // too many attempts in a short time
)

var reasons = [...]struct{ label, text string }{
	ReasonNone:             {"none", "no reason"},
	ReasonRequested:        {"requested", "closed on request"},
	ReasonShuttingDown:     {"shutting_down", "node is shutting down"},
	ReasonWrongVersion:     {"wrong_version", "no common protocol version"},
	ReasonWrongChain:       {"wrong_chain", "different chain"},
	ReasonWrongGenesis:     {"wrong_genesis", "different genesis"},
	ReasonSelf:             {"self", "connected to self"},
	ReasonTooManyPeers:     {"too_many_peers", "too many peers"},
	ReasonAlreadyConnected: {"already_connected", "already connected"},
	ReasonBanned:           {"banned", "peer is banned"},
	ReasonApplication:      {"application", "refused by the application"},
	ReasonTimeout:          {"timeout", "handshake timed out"},
	ReasonProtocol:         {"protocol", "protocol error"},
	ReasonPingTimeout:      {"ping_timeout", "ping timed out"},
	ReasonSlowReader:       {"slow_reader", "peer reads too slowly"},
	ReasonTransportLost:    {"transport_lost", "connection lost"},
	ReasonNotNebnet:        {"not_nebnet", "no common hello protocol"},
	ReasonReplaced:         {"replaced", "replaced by a newer session"},
	ReasonUnreachable:      {"unreachable", "peer could not be reached"},
	ReasonRateLimited:      {"rate_limited", "too many attempts"},
}

// Code is the number of the reason on the wire.
func (r Reason) Code() uint16 { return uint16(r) }

// Known tells whether this version knows the code.
func (r Reason) Known() bool { return int(r) < len(reasons) }

// String is the reason in words.
func (r Reason) String() string {
	if !r.Known() {
		return fmt.Sprintf("reason %d", uint16(r))
	}
	return reasons[r].text
}

// Error makes a Reason an error, so that errors.Is(err, ReasonWrongChain)
// works on whatever wraps one. Use Err to turn ReasonNone into nil.
func (r Reason) Error() string { return r.String() }

// Is matches the same reason under the name that programs know it by.
func (r Reason) Is(target error) bool {
	t, ok := target.(interface {
		Code() uint16
		Label() string
	})
	return ok && t.Code() == r.Code()
}

// Err is the reason as an error, nil for ReasonNone.
func (r Reason) Err() error {
	if r == ReasonNone {
		return nil
	}
	return r
}

// Label is the reason as a part of a metric name: fixed text without spaces,
// "other" for codes that this version does not know.
func (r Reason) Label() string {
	if !r.Known() {
		return "other"
	}
	return reasons[r].label
}

// Permanent tells whether trying again soon is useless, because the reason
// lies in what the two nodes are.
func (r Reason) Permanent() bool {
	switch r {
	case ReasonWrongChain, ReasonWrongGenesis, ReasonWrongVersion, ReasonSelf:
		return true
	}
	return false
}

// Timeout tells whether the reason is a time that ran out; with it a Reason is
// a net.Error.
func (r Reason) Timeout() bool { return r == ReasonTimeout || r == ReasonPingTimeout }

// Temporary is there for net.Error only: everything but a permanent reason.
func (r Reason) Temporary() bool { return !r.Permanent() }
