package reqresp

import (
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Peers tells who may be asked and served.
type Peers interface {
	// SessionConn is the connection of the session with p, nil where there is none.
	SessionConn(p peer.ID) network.Conn
	// Admit tells whether p has a session. While a handshake with it is under way
	// it may wait for the outcome.
	Admit(p peer.ID) bool
}

// Offers tells peers which methods are served here, and knows what they serve.
type Offers interface {
	// Offer makes a method known to all peers, those to come included, and returns
	// its number, which is the same one for ever.
	Offer(s *Spec) (number uint32, err error)
	// Withdraw undoes Offer.
	Withdraw(s *Spec)
	// Offered is the number and kind under which p offers a method, if it does.
	Offered(p peer.ID, name string) (number uint32, kind Kind, ok bool)
}

// Defaults of Config.
const (
	DefaultMaxCalls         = 4096
	DefaultMaxCallsPerPeer  = 512
	DefaultMaxServed        = 4096
	DefaultMaxServedPerPeer = 512
	DefaultMaxBytes         = 256 << 20
	DefaultMaxBytesPerPeer  = 32 << 20
	DefaultWriteTimeout     = 30 * time.Second
	DefaultIdleTimeout      = 2 * time.Minute
)

// Config describes an Engine. The callbacks may be called from several goroutines
// at once and should return soon.
type Config struct {
	Network string   // required: the network ID, part of the protocol ID
	Peers   Peers    // required
	Offers  Offers   // required
	Obs     *obs.Obs // default: discard

	// MaxCalls bounds the calls under way that this node makes, MaxCallsPerPeer
	// those to one peer. What is above is Busy. Defaults 4,096 and 512.
	MaxCalls, MaxCallsPerPeer int
	// MaxServed bounds the calls of others that run or wait here, MaxServedPerPeer
	// those of one peer. Defaults 4,096 and 512.
	MaxServed, MaxServedPerPeer int
	// MaxBytes bounds what requests and answers of others' calls hold when a
	// further call is let in, MaxBytesPerPeer those of one peer. What is above is
	// Busy. Defaults 256 MiB and 32 MiB.
	MaxBytes, MaxBytesPerPeer int
	// WriteTimeout is how long a peer may take nothing of 64 KiB before its stream
	// is reset. Default 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is after how long without calls a stream is closed. Default 2 min.
	IdleTimeout time.Duration

	// Rand spreads choices between peers that are alike. Any number of goroutines may
	// use it. Default: the runtime's.
	Rand *rand.Rand
	// Penalise hears of violations. Default: nobody does.
	Penalise func(peer.ID, Fault)
	// Report hears how each call that this node made ended. Default: nobody does.
	Report func(peer.ID, Outcome)
}

func (c Config) withDefaults() Config {
	setting.Default(&c.MaxCalls, DefaultMaxCalls)
	setting.Default(&c.MaxCallsPerPeer, DefaultMaxCallsPerPeer)
	setting.Default(&c.MaxServed, DefaultMaxServed)
	setting.Default(&c.MaxServedPerPeer, DefaultMaxServedPerPeer)
	setting.Default(&c.MaxBytes, DefaultMaxBytes)
	setting.Default(&c.MaxBytesPerPeer, DefaultMaxBytesPerPeer)
	setting.Default(&c.WriteTimeout, DefaultWriteTimeout)
	setting.Default(&c.IdleTimeout, DefaultIdleTimeout)
	if c.Penalise == nil {
		c.Penalise = func(peer.ID, Fault) {}
	}
	if c.Report == nil {
		c.Report = func(peer.ID, Outcome) {}
	}
	c.Rand = random.Or(c.Rand)
	c.Obs = obs.Or(c.Obs)
	return c
}

// Validate reports every mistake at once, each as a *setting.Error.
func (c Config) Validate() error {
	var check setting.Check
	check.Required("Network", c.Network != "")
	check.Required("Peers", c.Peers != nil)
	check.Required("Offers", c.Offers != nil)
	setting.AtLeast(&check, "MaxCalls", c.MaxCalls, 0)
	setting.AtLeast(&check, "MaxCallsPerPeer", c.MaxCallsPerPeer, 0)
	setting.AtLeast(&check, "MaxServed", c.MaxServed, 0)
	setting.AtLeast(&check, "MaxServedPerPeer", c.MaxServedPerPeer, 0)
	setting.AtLeast(&check, "MaxBytes", c.MaxBytes, 0)
	setting.AtLeast(&check, "MaxBytesPerPeer", c.MaxBytesPerPeer, 0)
	setting.AtLeast(&check, "WriteTimeout", c.WriteTimeout, 0)
	setting.AtLeast(&check, "IdleTimeout", c.IdleTimeout, 0)
	return check.Err()
}

// Outcome is how a call ended for its caller.
type Outcome struct {
	Method string
	Took   time.Duration
	Bytes  int   // of the answers
	Err    error // nil, an *Error or a *TransportError; not what the caller itself gave up
}
