package netservice

import (
	"context"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
)

// Validator judges a message that came by gossip, before it is delivered and
// passed on. It may block until ctx ends, and is called from several goroutines.
// A panic counts as Ignore.
type Validator func(ctx context.Context, m dispatcher.Message) Verdict

// Verdict is what a Validator decides: Accept, Ignore, Reject or Defer. The zero
// value is Ignore.
type Verdict struct{ as gossip.Verdict }

// String is the verdict in words.
func (v Verdict) String() string { return v.as.String() }

// Accept delivers the message and passes it on.
func Accept() Verdict { return Verdict{gossip.Accept()} }

// Ignore drops the message and blames nobody.
func Ignore() Verdict { return Verdict{} }

// Reject drops the message and lowers the score of every peer that sent it, down to a
// ban: a node with the same validator would not have passed it on. A peer that has told
// it has no validator for the type, or judges by other rules (GossipSpec.Rules), is not
// banned for what others sent through it: it leaves the mesh of the type, and after two
// or three such messages in ten minutes no more of the type is taken from it for a
// while. With Config.SignMessages it still answers for what it signed itself.
func Reject() Verdict { return Verdict{gossip.Reject()} }

// Defer parks the message until NebService.Resume is called with the same key,
// such as the hash of a missing parent block; then it is judged again. How many
// messages are parked, and for how long, is bounded.
func Defer(key string) Verdict { return Verdict{gossip.Defer(key)} }
