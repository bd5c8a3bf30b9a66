package netservice

import "github.com/go-nebnet/nebnet/internal/handshake"

// The reasons for which peers are refused or sessions end, on this side or the
// other. They match with errors.Is.
const (
	ReasonNone             = handshake.ReasonNone
	ReasonRequested        = handshake.ReasonRequested
	ReasonShuttingDown     = handshake.ReasonShuttingDown
	ReasonWrongVersion     = handshake.ReasonWrongVersion
	ReasonWrongChain       = handshake.ReasonWrongChain
	ReasonWrongGenesis     = handshake.ReasonWrongGenesis
	ReasonSelf             = handshake.ReasonSelf
	ReasonTooManyPeers     = handshake.ReasonTooManyPeers
	ReasonAlreadyConnected = handshake.ReasonAlreadyConnected
	ReasonBanned           = handshake.ReasonBanned
	ReasonApplication      = handshake.ReasonApplication
	ReasonTimeout          = handshake.ReasonTimeout
	ReasonProtocol         = handshake.ReasonProtocol
	ReasonPingTimeout      = handshake.ReasonPingTimeout
	ReasonSlowReader       = handshake.ReasonSlowReader
	ReasonTransportLost    = handshake.ReasonTransportLost
	ReasonNotNebnet        = handshake.ReasonNotNebnet
	ReasonReplaced         = handshake.ReasonReplaced
	ReasonUnreachable      = handshake.ReasonUnreachable
	ReasonRateLimited      = handshake.ReasonRateLimited
)
