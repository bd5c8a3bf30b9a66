package reqresp

import (
	"context"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Kind is what goes to and fro in a call.
type Kind uint8

// The kinds of methods.
const (
	Unary  Kind = 1 // one request, one answer
	Stream Kind = 2 // one request, any number of answers
	Upload Kind = 3 // any number of requests, one answer
)

func (k Kind) known() bool { return k >= Unary && k <= Upload }

func (k Kind) String() string {
	switch k {
	case Unary:
		return "unary"
	case Stream:
		return "stream"
	case Upload:
		return "upload"
	}
	return "unknown"
}

// Defaults of Spec.
const (
	DefaultMaxRequest  = 64 << 10
	DefaultMaxAnswer   = 4 << 20
	DefaultDeadline    = 10 * time.Second
	DefaultWindow      = 1 << 20
	DefaultConcurrency = 32
	DefaultPerPeer     = 16
	DefaultQueue       = 256
	DefaultPeerQueue   = 64
)

// Spec is what a method is. Name, Kind and the two sizes have to be the same at
// all nodes; the rest is each node's own.
type Spec struct {
	Name string // 1 to 64 bytes of letters, digits, dot, dash and underscore
	Kind Kind

	// MaxRequest and MaxAnswer bound one message, in bytes. Defaults 64 KiB and
	// 4 MiB.
	MaxRequest, MaxAnswer int
	// Deadline bounds a unary call whose context does not, at the caller, and the
	// handler's context in any case; in a stream it bounds the time in which
	// nothing comes or, at the sender, is taken, which is noticed after twice as long
	// at most. Default 10 s.
	Deadline time.Duration
	// Window bounds the bytes of streamed answers that may be on their way, or
	// wait for the program, beside one whole answer. 64 KiB to 16 MiB, default
	// 1 MiB.
	Window int

	// Concurrency bounds the handlers that run at once, PerPeer those for one
	// peer. Defaults 32 and 16.
	Concurrency, PerPeer int
	// Queue bounds the calls that wait for a handler, PeerQueue those of one peer;
	// what is above is Busy at once. Defaults 256 and 64; negative is none.
	Queue, PeerQueue int
	// Rate bounds the calls of one peer, per second, with bursts of Burst; what is
	// above is Busy at once. Default: no limit. Burst is by default the rate.
	Rate  float64
	Burst int
}

func (s Spec) withDefaults() Spec {
	setting.Default(&s.MaxRequest, DefaultMaxRequest)
	setting.Default(&s.MaxAnswer, DefaultMaxAnswer)
	setting.Default(&s.Deadline, DefaultDeadline)
	setting.Default(&s.Window, DefaultWindow)
	setting.Default(&s.Concurrency, DefaultConcurrency)
	setting.Default(&s.PerPeer, DefaultPerPeer)
	setting.Default(&s.Queue, DefaultQueue)
	setting.Default(&s.PeerQueue, DefaultPeerQueue)
	s.PerPeer = min(s.PerPeer, s.Concurrency)
	s.Queue = max(s.Queue, 0)
	s.PeerQueue = max(min(s.PeerQueue, s.Queue), 0)
	if s.Rate > 0 && s.Burst == 0 {
		s.Burst = max(1, int(s.Rate))
	}
	return s
}

// Validate reports every mistake at once, each as a *setting.Error.
func (s Spec) Validate() error {
	s = s.withDefaults()
	var check setting.Check
	bad := func(field, format string, args ...any) { check.Bad("method "+s.Name+": "+field, format, args...) }
	if err := msgtype.CheckName(s.Name); err != nil {
		check.Bad("method name", "%w", err)
	}
	if !s.Kind.known() {
		bad("Kind", "is %d", s.Kind)
	}
	for _, f := range []struct {
		field            string
		v, least, atMost int
	}{
		{"MaxRequest", s.MaxRequest, 1, msgtype.MaxSize},
		{"MaxAnswer", s.MaxAnswer, 1, msgtype.MaxSize},
		{"Window", s.Window, minWindow, maxWindow},
		{"Concurrency", s.Concurrency, 1, 1 << 20},
		{"PerPeer", s.PerPeer, 1, 1 << 20},
		{"Queue", s.Queue, 0, 1 << 20},
		{"Burst", s.Burst, 0, 1 << 30},
	} {
		if f.v < f.least || f.v > f.atMost {
			bad(f.field, "is %d, %d to %d are allowed", f.v, f.least, f.atMost)
		}
	}
	if s.Deadline < 0 {
		bad("Deadline", "is %s", s.Deadline)
	}
	if s.Rate < 0 || s.Rate != s.Rate {
		bad("Rate", "is %v", s.Rate)
	}
	return check.Err()
}

// Handler answers calls of one method: exactly the function of its kind is set.
// They run concurrently. The context ends at the deadline, when the caller gives
// up, and with the session. The slices are theirs to keep, and what they return
// may not be changed any more.
type Handler struct {
	Unary  func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)
	Stream func(ctx context.Context, from peer.ID, req []byte) iter.Seq2[[]byte, error]
	Upload func(ctx context.Context, from peer.ID, reqs iter.Seq2[[]byte, error]) ([]byte, error)
}

func (h Handler) fits(k Kind) bool {
	return (h.Unary != nil) == (k == Unary) && (h.Stream != nil) == (k == Stream) && (h.Upload != nil) == (k == Upload)
}
