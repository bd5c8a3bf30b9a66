package netservice

import (
	"errors"

	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/session"
)

// What a violation costs a peer, of the hundred points at which it is banned.
// Half of them is forgiven every ten minutes. What a broken link can cause
// costs little.
const (
	penaltyUndecodable = 10
	// for a message sent directly that the type's validator rejects: who sent it
	// made it, or should have judged it
	penaltyRejected = 20
	// for each second that gossip reads nothing of the peer any more
	penaltyGraylisted = 34
)

// exchangeWeight is what a bad answer to a request for peers costs. One that is
// cut short may be the end of the session.
func exchangeWeight(err error) float64 {
	if errors.Is(err, discovery.FaultTruncated) {
		return 1
	}
	return 20
}

func faultWeight(f session.Fault) float64 {
	switch f {
	case session.FaultOversize, session.FaultCorrupt, session.FaultBomb, session.FaultFlags, session.FaultControl,
		session.FaultOffers, session.FaultNumber:
		return 34 // three times
	case session.FaultTimeout, session.FaultStreams, session.FaultStorm:
		return 10
	case session.FaultTruncated:
		return 2
	}
	return 10
}
