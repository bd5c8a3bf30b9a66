package peers

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/asn"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Defaults of Config.
const (
	DefaultMaxPeers     = 50
	DefaultInboundShare = 0.75
	DefaultMaxDials     = 32
	DefaultDialTimeout  = 15 * time.Second
	DefaultBanDuration  = time.Hour
)

// MaxBanDuration bounds how long a ban for misbehaviour grows.
const MaxBanDuration = 7 * 24 * time.Hour

// Store keeps the address book while the node is away.
type Store interface {
	// Load returns what was saved last, nil when nothing was.
	Load() ([]byte, error)
	// Save replaces it, as a whole or not at all.
	Save(raw []byte) error
}

// Measured is what others know of a session peer.
type Measured struct {
	RTT    time.Duration // 0 when not measured
	Gossip float64       // its score in broadcasting, 0 for none
}

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
	// Outbound is the number of peers that this node looks for and dials. Default:
	// what InboundShare leaves of MaxPeers, at least 1.
	Outbound int
	// Enough is the number of peers in all below which the node dials also when it
	// has Outbound. Default: half of MaxPeers.
	Enough int
	// Store keeps what is known of peers over restarts. Default: nothing is kept.
	Store Store
	// Allow says which addresses may be dialled. Default: all.
	Allow func(ma.Multiaddr) bool
	// PublicOnly counts private addresses like any others in the limits for each
	// neighbourhood. Else they are exempt, as loopback ones always are.
	PublicOnly bool
	// Systems tells of which autonomous system addresses are. Default: what package asn
	// knows without a file.
	Systems *asn.Table
	// Measure tells about a session peer, for comparing peers. It must return at
	// once and not call the manager. Default: nothing is known.
	Measure func(p peer.ID) Measured
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
	var check setting.Check
	check.Required("Self", c.Self != "")
	check.Required("Connect", c.Connect != nil)
	setting.AtLeast(&check, "Outbound", c.Outbound, 0)
	setting.AtLeast(&check, "Enough", c.Enough, 0)
	setting.AtLeast(&check, "MaxPeers", c.MaxPeers, 0)
	setting.AtLeast(&check, "MaxDials", c.MaxDials, 0)
	setting.AtLeast(&check, "DialTimeout", c.DialTimeout, 0)
	setting.AtLeast(&check, "HandshakeTimeout", c.HandshakeTimeout, 0)
	setting.AtLeast(&check, "BanDuration", c.BanDuration, 0)
	if c.InboundShare > 1 || math.IsNaN(c.InboundShare) {
		check.Bad("InboundShare", "is %v, must be at most 1", c.InboundShare)
	}
	setting.Default(&c.MaxPeers, DefaultMaxPeers)
	setting.Default(&c.InboundShare, DefaultInboundShare)
	setting.Default(&c.MaxDials, DefaultMaxDials)
	if c.Allow == nil {
		c.Allow = func(ma.Multiaddr) bool { return true }
	}
	if c.Measure == nil {
		c.Measure = func(peer.ID) Measured { return Measured{} }
	}
	setting.Default(&c.DialTimeout, DefaultDialTimeout)
	setting.Default(&c.HandshakeTimeout, handshake.DefaultTimeout)
	setting.Default(&c.BanDuration, DefaultBanDuration)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	c.Obs = obs.Or(c.Obs)
	return c, check.Err()
}

// Limits are the numbers of peers that can change while the node runs.
type Limits struct {
	MaxPeers     int     // as in Config
	InboundShare float64 // as in Config, negative for none
	Outbound     int     // 0: what InboundShare leaves
	Enough       int     // 0: half of MaxPeers
}

func (c Config) limits() Limits {
	return Limits{c.MaxPeers, c.InboundShare, c.Outbound, c.Enough}
}

// maxInbound is the number of slots that inbound peers may take.
func (l Limits) maxInbound() int {
	if l.InboundShare < 0 {
		return 0
	}
	return int(math.Ceil(l.InboundShare * float64(l.MaxPeers)))
}

// outbound is the number of peers that this node looks for.
func (l Limits) outbound() int {
	if l.Outbound > 0 {
		return min(l.Outbound, l.MaxPeers)
	}
	return max(1, l.MaxPeers-l.maxInbound())
}

// enough is the number of peers in all below which more are looked for.
func (l Limits) enough() int {
	if l.Enough > 0 {
		return min(l.Enough, l.MaxPeers)
	}
	return (l.MaxPeers + 1) / 2
}

// most is how many outbound peers may be of one neighbourhood, and of one autonomous
// system: a sixth, and a third.
func (l Limits) most() shares {
	return shares{group: max(1, l.outbound()/6), system: max(2, l.outbound()/3)}
}
