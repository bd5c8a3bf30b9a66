package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
)

const (
	component = "discovery"
	maxAsking = 8 // asks under way
	// maxOwnAddrs bounds the addresses of a record that a peer tells of itself. What a
	// record unpacks to is many times its size.
	maxOwnAddrs = 64
)

// Protocol is the protocol ID of peer exchange in a network.
func Protocol(network string) protocol.ID {
	return protocol.ID("/neb/" + network + "/peers/1.0.0")
}

// Exchange asks session peers for other peers of the network, and answers
// them. Make one with New. Its methods may be called from any goroutine and
// never wait, Close apart.
type Exchange struct {
	cfg      Config
	obs      *obs.Obs
	protocol protocol.ID
	book     *book

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // something changed in the schedule
	wg     sync.WaitGroup
	ended  chan struct{} // closed when wg is done after Close

	life    sync.Mutex // held by Start and Close while they call the host; guards the two below
	started bool
	sub     event.Subscription // of the host's events

	mu       sync.Mutex // guards the fields below
	closed   bool
	schedule *schedule
	intake   *intake
	desk     *desk
	asking   int
}

// New checks the configuration and opens nothing. Its errors are
// *ConfigErrors, joined.
func New(cfg Config) (*Exchange, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	x := &Exchange{
		cfg: cfg, obs: cfg.Obs, protocol: Protocol(cfg.Network),
		book:     newBook(cfg.Host),
		wake:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
		schedule: newSchedule(time.Now(), cfg.Interval, jitter(cfg.Rand)),
		intake:   newIntake(cfg.PerSource, cfg.OfferAgain),
		desk:     newDesk(),
	}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	return x, nil
}

// jitter varies a time by a fifth, so that nodes that started together do not
// ask together.
func jitter(rng *rand.Rand) func(time.Duration) time.Duration {
	return func(d time.Duration) time.Duration {
		return d - d/5 + time.Duration(rng.Int64N(int64(d/5*2+1)))
	}
}

// Met tells of a new session with p. Call it after Member has become true for
// p. After Close it does nothing.
func (x *Exchange) Met(p peer.ID) {
	x.mu.Lock()
	if !x.closed {
		x.schedule.met(time.Now(), p)
		x.intake.met(p)
	}
	x.mu.Unlock()
	x.notify()
	x.guarded("Own", func() { x.tell(p) })
}

// Parted tells of the end of the last session with a peer: somebody else is asked soon
// who could take its place. After Close it does nothing.
func (x *Exchange) Parted() {
	x.mu.Lock()
	x.schedule.parted(time.Now())
	x.mu.Unlock()
	x.notify()
}

// Told takes the signed record in which a peer tells of itself in its session, one after
// the other: the last one counts, whatever its number. It is verified, kept for those who
// ask, and the owner hears of it if p is a session peer. Told returns the envelope. Its
// error, a Fault, means that no honest peer sends this. raw belongs to the exchange from
// here on. After Close nobody hears of it.
func (x *Exchange) Told(p peer.ID, raw []byte) (*record.Envelope, error) {
	r, err := x.book.parse(raw, maxOwn)
	switch {
	case err != nil:
		return nil, err
	case r.PeerID != p:
		return nil, faultf(FaultRecord, "of another peer")
	case len(r.Addrs) > maxOwnAddrs:
		return nil, faultf(FaultRecord, "%d addresses, at most %d are allowed", len(r.Addrs), maxOwnAddrs)
	}
	x.book.put(r, true)
	if x.ctx.Err() == nil {
		x.guarded("Own", func() { x.tell(p) })
	}
	return r.env, nil
}

// Refused tells of a peer that was refused for want of a place and is still
// connected. It looks for peers, so it has places: the owner hears of its record, as
// of a session peer's. After Close it does nothing.
func (x *Exchange) Refused(p peer.ID) {
	if x.ctx.Err() == nil {
		x.guarded("Own", func() { x.tellOf(x.book.get(p)) })
	}
}

func (x *Exchange) notify() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// keepTime asks whoever is due until Close.
func (x *Exchange) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-x.wake: // Met, or an ask that ended
		case <-timer.C:
		}
		timer.Reset(time.Until(x.askDue()))
	}
}

// askDue starts the asks that are due and returns when to look again.
func (x *Exchange) askDue() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.schedule.take(time.Now(), maxAsking-x.asking) {
		x.asking++
		x.wg.Go(func() {
			fresh := false
			x.guarded("ask", func() { fresh = x.take(p) })
			x.took(p, fresh)
		})
	}
	if x.asking == maxAsking {
		return time.Now().Add(x.cfg.Interval) // the end of an ask comes first
	}
	return x.schedule.next()
}

func (x *Exchange) took(p peer.ID, fresh bool) {
	x.mu.Lock()
	x.asking--
	x.schedule.done(time.Now(), p, fresh)
	x.mu.Unlock()
	x.notify()
}

// penalise counts a violation and passes it on; other errors are none.
func (x *Exchange) penalise(p peer.ID, err error) {
	var f Fault
	if !errors.As(err, &f) {
		return
	}
	x.obs.Counter(obs.ExchangeFaults + f.String()).Inc(1)
	x.obs.WarnLimited(component, p.String(), logrus.Fields{"peer": p.String(), "error": err.Error()}, "peer exchange violated")
	x.cfg.Penalise(p, err)
}

// guarded is where panics of user callbacks end.
func (x *Exchange) guarded(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			x.obs.Panicked(obs.Panic{Component: component, In: what, Value: v, Count: x.obs.Counter(obs.ExchangePanics)})
		}
	}()
	f()
}

// Start registers the stream handler and starts the goroutines. A second call
// returns ErrStarted, one after Close ErrClosed.
func (x *Exchange) Start() error {
	x.life.Lock()
	defer x.life.Unlock()
	switch {
	case x.ctx.Err() != nil:
		return ErrClosed
	case x.started:
		return ErrStarted
	}
	sub, err := x.cfg.Host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(64), eventbus.Name("nebnet/peer-exchange"))
	if err != nil {
		return fmt.Errorf("subscribe to the host's events: %w", err)
	}
	x.sub, x.started = sub, true
	x.wg.Go(func() {
		for ev := range sub.Out() { // ends with the subscription
			x.book.follow(ev)
			if ev, ok := ev.(event.EvtPeerIdentificationCompleted); ok {
				x.guarded("Own", func() { x.tell(ev.Peer) })
			}
		}
	})
	x.wg.Go(x.keepTime)
	x.cfg.Host.SetStreamHandler(x.protocol, x.handle)
	return nil
}

// Close ends all asks and answers and waits for their goroutines and for user
// callbacks under way, until ctx ends; then it returns an error that says so.
// It may be called again.
func (x *Exchange) Close(ctx context.Context) error {
	x.shut()
	if !lifecycle.Ended(ctx, x.ended) {
		return fmt.Errorf("an exchange or a callback has not ended: %w", ctx.Err())
	}
	return nil
}

// shut tells everything to end and sees to it that ended is closed then.
func (x *Exchange) shut() {
	x.life.Lock()
	defer x.life.Unlock()
	if x.ctx.Err() != nil {
		return
	}
	x.mu.Lock()
	x.closed = true // no stream is let in from here on
	x.mu.Unlock()
	x.cancel()
	if x.started {
		x.cfg.Host.RemoveStreamHandler(x.protocol)
		x.sub.Close()
	}
	go func() {
		x.wg.Wait()
		close(x.ended)
	}()
}
