package session

import (
	"context"
	"fmt"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// DeliverFunc takes messages of one type that the peer of a session sent, in
// order. It is called by one goroutine per stream, one batch after the other for a (peer,
// type). While it blocks, that stream is not read and its sender feels it; no
// other stream does. ctx ends with the session. Nothing is delivered before
// Attach is about to return the session.
//
// Each payload belongs to the callee; the outer slice is used again after the
// return. Payloads of at most 1 KiB that came together share an allocation of at
// most 3 KiB. An error resets the stream, without blame on the peer, and so does
// a panic.
type DeliverFunc func(ctx context.Context, from *Session, msgType string, batch [][]byte) error

// Config is what an Engine is made from.
type Config struct {
	// Host is required. The engine sets and removes stream handlers on it.
	Host host.Host
	// Network is required: the network ID, a part of every protocol ID.
	Network string
	// Obs is required.
	Obs *obs.Obs
	// Peers is required.
	Peers Peers
	// Deliver is required.
	Deliver DeliverFunc
	// Budgets bounds what is on the way on each connection, for all that is
	// written there. Default: one for the engine's own messages.
	Budgets *pacing.Budgets
	// Penalise is told of every violation of the protocol by a peer, from the
	// goroutine that saw it; it must not block. Optional.
	Penalise func(p peer.ID, f Fault)
	// OnRecord takes a peer's signed address record, a marshalled envelope that
	// nobody has verified yet; an error is a violation of the protocol. OnPayload
	// takes the application's part of its hello when that is renewed. They are
	// called by the goroutine that reads the control stream, and must not block.
	// What they get belongs to them. Optional.
	OnRecord  func(p peer.ID, envelope []byte) error
	OnPayload func(p peer.ID, payload []byte)
	// OnOffer is told that what a peer offers of a kind under a name is now another,
	// or nothing, from the same goroutine. Optional.
	OnOffer func(p peer.ID, kind Kind, name string)

	// QueueBytes bounds what is queued for one peer over all types. A type
	// whose own queue holds no more than 64 KiB is served even beyond it, so
	// that stalled types cannot lock out the others. Default 8 MiB.
	QueueBytes int
	// WriteTimeout is how long a stream may go without one byte taken by the
	// receiver. After one to two times that it is reset, and what is queued for it
	// dropped. It is long
	// because a lossless subscriber may rightly push back for a while; a peer
	// that is dead is found by ping. Default 2 min.
	WriteTimeout time.Duration
	// StallLimit is how many streams in a row may run into WriteTimeout before
	// the session ends with ReasonSlowReader. Default 3.
	StallLimit int
	// FrameTimeout is how long the rest of a frame may take to arrive, with a
	// second more for each 4 KiB of it that have come (pacing.LowestRate), and how
	// long nothing of it may come. Deadlines are looked at every PingInterval, or
	// more often where they are short. Default 60 s.
	FrameTimeout time.Duration
	// StreamIdle is how long an outbound stream without traffic stays open.
	// Default 10 s, at most 30 s.
	StreamIdle time.Duration
	// ReceiveIdle is how long an inbound stream may stay open without traffic
	// before it is reset. Default 60 s, at least 60 s.
	ReceiveIdle time.Duration
	// PingInterval is how long a session may be silent before it is pinged by the
	// side that did not open it; the other one waits a third longer.
	// Default 3 s.
	PingInterval time.Duration
	// PingTimeout is how long a ping may remain without any byte received
	// before the session ends with ReasonPingTimeout. Default 5 s, so that a
	// dead peer is noticed within 8 s.
	PingTimeout time.Duration
	// OpenTimeout bounds the opening of a stream, give or take a quarter of it.
	// Default 10 s.
	OpenTimeout time.Duration
	// FlushTimeout bounds how long Close goes on writing what is queued, and
	// how long it then waits for the peer to have taken it. Default 1 s each.
	FlushTimeout time.Duration
	// StreamsPerType is how many inbound streams of one type a peer may have
	// open. Default 3: one that is read, one that waits, one in reserve.
	StreamsPerType int
	// StreamRate and StreamBurst bound how fast a peer may open message streams:
	// per second, and at once, each more by the number of types that there are.
	// Default 20 and 200.
	StreamRate  float64
	StreamBurst int
}

func (c Config) withDefaults() Config {
	setting.Default(&c.QueueBytes, 8<<20)
	setting.Default(&c.WriteTimeout, 2*time.Minute)
	setting.Default(&c.StallLimit, 3)
	setting.Default(&c.FrameTimeout, time.Minute)
	setting.Default(&c.StreamIdle, 10*time.Second)
	setting.Default(&c.ReceiveIdle, time.Minute)
	setting.Default(&c.PingInterval, 3*time.Second)
	setting.Default(&c.PingTimeout, 5*time.Second)
	setting.Default(&c.OpenTimeout, 10*time.Second)
	setting.Default(&c.FlushTimeout, time.Second)
	setting.Default(&c.StreamsPerType, 3)
	setting.Default(&c.StreamRate, 20)
	setting.Default(&c.StreamBurst, 200)
	return c
}

func (c Config) validate() error {
	var check setting.Check
	check.Required("Host", c.Host != nil)
	check.Required("Obs", c.Obs != nil)
	check.Required("Peers", c.Peers != nil)
	check.Required("Deliver", c.Deliver != nil)
	if err := msgtype.CheckName(c.Network); err != nil {
		check.Bad("Network", "%q %w", c.Network, err)
	}
	setting.AtLeast(&check, "QueueBytes", c.QueueBytes, 0)
	setting.AtLeast(&check, "StallLimit", c.StallLimit, 0)
	setting.AtLeast(&check, "StreamsPerType", c.StreamsPerType, 0)
	setting.AtLeast(&check, "StreamRate", c.StreamRate, 0)
	setting.AtLeast(&check, "StreamBurst", c.StreamBurst, 0)
	setting.AtLeast(&check, "WriteTimeout", c.WriteTimeout, 0)
	setting.AtLeast(&check, "FrameTimeout", c.FrameTimeout, 0)
	setting.AtLeast(&check, "StreamIdle", c.StreamIdle, 0)
	setting.AtLeast(&check, "ReceiveIdle", c.ReceiveIdle, time.Minute)
	setting.AtLeast(&check, "PingInterval", c.PingInterval, 0)
	setting.AtLeast(&check, "PingTimeout", c.PingTimeout, 0)
	setting.AtLeast(&check, "OpenTimeout", c.OpenTimeout, 0)
	setting.AtLeast(&check, "FlushTimeout", c.FlushTimeout, 0)
	if c.StreamIdle > 30*time.Second {
		check.Bad("StreamIdle", "is %s, must be at most 30s", c.StreamIdle)
	}
	if err := check.Err(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}
