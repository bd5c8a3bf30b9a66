package reqresp

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
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
	c.MaxCalls = cmp.Or(c.MaxCalls, DefaultMaxCalls)
	c.MaxCallsPerPeer = cmp.Or(c.MaxCallsPerPeer, DefaultMaxCallsPerPeer)
	c.MaxServed = cmp.Or(c.MaxServed, DefaultMaxServed)
	c.MaxServedPerPeer = cmp.Or(c.MaxServedPerPeer, DefaultMaxServedPerPeer)
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.MaxBytesPerPeer = cmp.Or(c.MaxBytesPerPeer, DefaultMaxBytesPerPeer)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultWriteTimeout)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	if c.Penalise == nil {
		c.Penalise = func(peer.ID, Fault) {}
	}
	if c.Report == nil {
		c.Report = func(peer.ID, Outcome) {}
	}
	c.Rand = random.Or(c.Rand)
	if c.Obs == nil {
		c.Obs = obs.Discard()
	}
	return c
}

// Validate reports every mistake at once, each as a *ConfigError.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	for _, r := range []struct {
		field   string
		missing bool
	}{{"Network", c.Network == ""}, {"Peers", c.Peers == nil}, {"Offers", c.Offers == nil}} {
		if r.missing {
			bad(r.field, "is required")
		}
	}
	for _, n := range []struct {
		field string
		v     int
	}{
		{"MaxCalls", c.MaxCalls}, {"MaxCallsPerPeer", c.MaxCallsPerPeer},
		{"MaxServed", c.MaxServed}, {"MaxServedPerPeer", c.MaxServedPerPeer},
		{"MaxBytes", c.MaxBytes}, {"MaxBytesPerPeer", c.MaxBytesPerPeer},
	} {
		if n.v < 0 {
			bad(n.field, "is %d", n.v)
		}
	}
	for _, d := range []struct {
		field string
		v     time.Duration
	}{{"WriteTimeout", c.WriteTimeout}, {"IdleTimeout", c.IdleTimeout}} {
		if d.v < 0 {
			bad(d.field, "is %s", d.v)
		}
	}
	return errors.Join(errs...)
}

// Outcome is how a call ended for its caller.
type Outcome struct {
	Method string
	Took   time.Duration
	Bytes  int   // of the answers
	Err    error // nil, an *Error or a *TransportError; not what the caller itself gave up
}
