package peers

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Defaults of Config.
const (
	DefaultMaxPeers     = 50
	DefaultInboundShare = 0.75
	DefaultMaxDials     = 16
	DefaultDialTimeout  = 15 * time.Second
	DefaultBanDuration  = time.Hour
)

// Config is what a Manager needs.
type Config struct {
	// Self is the node's own ID. Required.
	Self peer.ID
	// Connect makes a connection to a peer, with the addresses given beside
	// those that the host knows, and runs the handshake, in which it admits,
	// confirms and commits. It returns when the session stands or the attempt
	// has failed, and no later than its context. The error's handshake.Reason
	// (handshake.ReasonOf) sets the next wait; an error without one counts as
	// unreachable. The host's own dial back-off has to be cleared by it, or it
	// fails attempts that the manager thinks are due. Required.
	Connect func(ctx context.Context, ai peer.AddrInfo) error

	// MaxPeers is the most peers, handshakes under way included. Reserved
	// peers pass over it. Default DefaultMaxPeers.
	MaxPeers int
	// InboundShare is the part of MaxPeers, rounded up, that peers which
	// opened the hello may take: the rest is kept for peers that this node
	// chose. At most 1; default DefaultInboundShare; negative for none.
	InboundShare float64
	// MaxDials is the most dials under way. Default DefaultMaxDials.
	MaxDials int
	// DialTimeout bounds one call of Connect. Default DefaultDialTimeout.
	DialTimeout time.Duration
	// HandshakeTimeout is the most that a hello can be under way; the rule for
	// crossing hellos rests on it. Default handshake.DefaultTimeout.
	HandshakeTimeout time.Duration
	// BanDuration is how long a peer is banned whose penalties reached
	// BanScore. Default DefaultBanDuration.
	BanDuration time.Duration
	// Rand gives numbers in [0,1) for jitter. Default a private source.
	Rand func() float64
	// Obs logs and counts. Default obs.Discard.
	Obs *obs.Obs
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Self == "" {
		errs = append(errs, errors.New("peers: Config.Self is missing"))
	}
	if c.Connect == nil {
		errs = append(errs, errors.New("peers: Config.Connect is missing"))
	}
	if c.MaxPeers < 0 || c.MaxDials < 0 || c.DialTimeout < 0 || c.HandshakeTimeout < 0 || c.BanDuration < 0 {
		errs = append(errs, errors.New("peers: Config has a negative count or duration"))
	}
	if c.InboundShare > 1 || math.IsNaN(c.InboundShare) {
		errs = append(errs, errors.New("peers: Config.InboundShare exceeds 1"))
	}
	def(&c.MaxPeers, DefaultMaxPeers)
	def(&c.InboundShare, DefaultInboundShare)
	def(&c.MaxDials, DefaultMaxDials)
	def(&c.DialTimeout, DefaultDialTimeout)
	def(&c.HandshakeTimeout, handshake.DefaultTimeout)
	def(&c.BanDuration, DefaultBanDuration)
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())).Float64 // called under the manager's lock
	}
	if c.Obs == nil {
		c.Obs = obs.Discard()
	}
	return c, errors.Join(errs...)
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// maxInbound is the number of slots that inbound peers may take.
func (c Config) maxInbound() int {
	if c.InboundShare < 0 {
		return 0
	}
	return int(math.Ceil(c.InboundShare * float64(c.MaxPeers)))
}
