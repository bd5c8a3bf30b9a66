package discovery

import (
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Defaults of Config.
const (
	DefaultInterval   = 30 * time.Second
	DefaultTimeout    = 10 * time.Second
	DefaultPerSource  = 64
	DefaultOfferAgain = time.Minute
)

// Config describes an Exchange. The callbacks may be called from several
// goroutines at once and should return soon: Close waits for them.
type Config struct {
	Host    host.Host // required
	Network string    // required: the network ID, part of the protocol ID

	// Member tells whether there is a session with p. Required.
	Member func(p peer.ID) bool
	// Sessions lists the peers with a session. Required.
	Sessions func() []peer.ID
	// Want is the number of peers looked for, such as free outbound slots;
	// nobody is asked while it is 0 or less. Required.
	Want func() int
	// Found gets each candidate, with 1 to 8 addresses without a /p2p part, the
	// sequence number of the record as far as it is believed, and the peer that told
	// of it. Required.
	Found func(from peer.ID, ai peer.AddrInfo, seq uint64)
	// Own gets the record in which a session peer, or one that was refused for want
	// of a place (see Exchange.Refused), tells of itself, held to the same rules: what
	// it says now, whatever came before. seq is no later than that. Default: nobody does.
	Own func(ai peer.AddrInfo, seq uint64)
	// Guest tells whether a peer without a session may ask once, because it was
	// refused for want of a place. Default: nobody may.
	Guest func(p peer.ID) bool
	// Allow says which IP addresses may be handed on that a peer told. Whatever it
	// says, those that cannot be dialled directly are not. Default: all, loopback
	// and private ones too.
	Allow func(from peer.ID, a ma.Multiaddr) bool
	// Relay tells whether peers may be dialled through a relay. Default: through
	// none. One that is a session peer anyhow is no harm: who tells of a peer must
	// not choose whom else this node connects to.
	Relay func(relay peer.ID) bool
	// Penalise hears of violations; err wraps a Fault. Default: nobody does.
	Penalise func(p peer.ID, err error)

	// Interval is the longest mean time between two asks of a random session peer;
	// each one varies by a fifth. There are up to 5 s between them after the loss of a
	// peer and while they bring somebody new. Default 30 s.
	Interval time.Duration
	// Timeout bounds one exchange, on either side, absolutely. Default 10 s.
	Timeout time.Duration
	// PerSource is the number of candidates that one peer may tell of in an
	// hour. Default 64.
	PerSource int
	// OfferAgain is the time after which a candidate may be handed on a second
	// time; it doubles with each further time, up to an hour. A session with
	// the candidate resets it. Default 1 min.
	OfferAgain time.Duration

	// Rand chooses peers and varies times. Any number of goroutines may use it.
	// Default: the runtime's.
	Rand *rand.Rand
	Obs  *obs.Obs // default: discard
}

func (c Config) withDefaults() Config {
	setting.Default(&c.Interval, DefaultInterval)
	setting.Default(&c.Timeout, DefaultTimeout)
	setting.Default(&c.PerSource, DefaultPerSource)
	setting.Default(&c.OfferAgain, DefaultOfferAgain)
	if c.Allow == nil {
		c.Allow = func(peer.ID, ma.Multiaddr) bool { return true }
	}
	if c.Relay == nil {
		c.Relay = func(peer.ID) bool { return false }
	}
	if c.Own == nil {
		c.Own = func(peer.AddrInfo, uint64) {}
	}
	if c.Guest == nil {
		c.Guest = func(peer.ID) bool { return false }
	}
	if c.Penalise == nil {
		c.Penalise = func(peer.ID, error) {}
	}
	c.Rand = random.Or(c.Rand)
	c.Obs = obs.Or(c.Obs)
	return c
}

// Validate reports every mistake at once, each as a *setting.Error.
func (c Config) Validate() error {
	var check setting.Check
	check.Required("Host", c.Host != nil)
	check.Required("Network", c.Network != "")
	check.Required("Member", c.Member != nil)
	check.Required("Sessions", c.Sessions != nil)
	check.Required("Want", c.Want != nil)
	check.Required("Found", c.Found != nil)
	setting.AtLeast(&check, "Interval", c.Interval, 0)
	setting.AtLeast(&check, "Timeout", c.Timeout, 0)
	setting.AtLeast(&check, "OfferAgain", c.OfferAgain, 0)
	setting.AtLeast(&check, "PerSource", c.PerSource, 0)
	return check.Err()
}
