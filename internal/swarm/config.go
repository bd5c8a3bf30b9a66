package swarm

import (
	"context"
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// DefaultMemory is that of Config.Memory.
const DefaultMemory = 64 << 20

// Config is what an Engine is made from. Its functions are called from any goroutine
// and must not call the engine, Deliver and Report apart.
type Config struct {
	// Host is required. The engine sets and removes a stream handler on it.
	Host host.Host
	// Network is required: the network ID, a part of the protocol ID.
	Network string
	// Rand chooses peers. Any number of goroutines may use it. Default: the
	// runtime's.
	Rand *rand.Rand
	// Obs is optional.
	Obs *obs.Obs
	// Budgets paces what is written. Default: nothing is paced.
	Budgets *pacing.Budgets
	// Takes tells whether a peer is one to speak with, and which types it takes this
	// way, up to how many bytes of a message. Required. What it tells is asked for when
	// PeerChanged is called.
	Takes func(p peer.ID) (types map[string]int, member bool)
	// Deliver is given every message that is whole, and must not block. Validated must
	// follow, before or after it returns. Required.
	Deliver func(w Whole)
	// Invalid is told of a message that was rejected although its header had been
	// accepted: its author is at fault. Optional.
	Invalid func(h Header)
	// Heeds tells whether announcements of a type are taken from a peer. It must not
	// block. Default: always.
	Heeds func(p peer.ID, typ string) bool
	// Report is told of what peers do that no honest one does, of the type where it is
	// about one message, with ban if there is no doubt about it. It must not block.
	// Optional.
	Report func(p peer.ID, typ, fault string, ban bool)
	// Progress is told of messages under way, at most ten times a second for each, from
	// a goroutine of its own. Optional.
	Progress func(v sched.View)
	// Memory bounds what is held of messages of others, in bytes, and once more that of
	// own ones. Default 64 MiB; it must hold the largest message.
	Memory int
}

func (c *Config) validate() error {
	var check setting.Check
	check.Required("Host", c.Host != nil)
	check.Required("Network", c.Network != "")
	check.Required("Takes", c.Takes != nil)
	check.Required("Deliver", c.Deliver != nil)
	setting.AtLeast(&check, "Memory", c.Memory, 0)
	c.Obs = obs.Or(c.Obs)
	setting.Default(&c.Memory, DefaultMemory)
	return check.Err()
}

// Headers are the program's functions for the headers of a type. All are optional.
type Headers struct {
	// Make gives the header of a message that this node publishes; own is what Prepare
	// was given.
	Make func(h Header, own []byte) ([]byte, error)
	// Check validates the header of a message of others; with Accept the message is passed
	// on before it is whole. It runs in a goroutine of its own and may block until ctx
	// ends, at the type's Broadcast.Deadline. A panic counts as sched.Ignore. A header
	// stays deferred for Broadcast.ParkTime. Without it, a message is passed on when the
	// whole was accepted.
	Check func(ctx context.Context, h Header) (v sched.Verdict, key string)
}

// messageType is a type that was set.
type messageType struct {
	msgtype.Spec
	Headers
	labels obs.Labels // of goroutines that check headers
}

// Header is what is known of a message before it is here.
type Header struct {
	Type   string
	Digest wire.Sum // names the content: type, size, chunks
	Size   int      // bytes
	Header []byte   // of the application
	From   peer.ID  // that announced it first; empty for an own one
}

// Whole is a message that is whole.
type Whole struct {
	Ref  *Ref
	Type string
	From peer.ID // that announced it first or, if it has left, sent most of it
	Data []byte  // may be kept, and must not be changed
	// Cut tells that it was passed on before: those who sent it could not know whether
	// it is valid.
	Cut bool
}

// Ref names a message to the engine.
type Ref struct {
	manifest   *wire.Manifest
	id, digest wire.Sum
	data       []byte
}

// Size is how many bytes the message has.
func (r *Ref) Size() int { return r.manifest.Size }
