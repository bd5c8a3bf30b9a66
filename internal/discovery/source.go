package discovery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
)

// Source is a way to find peers that is asked when peers are wanted.
type Source interface {
	// Name tells the source apart in logs.
	Name() string
	// Find looks for about want peers and hands them to found, until it has them,
	// gives up, or ctx ends.
	Find(ctx context.Context, want int, found func(peer.AddrInfo)) error
}

// Times of a Poller.
const (
	pollFirst   = 5 * time.Second // after a find that brought something new
	pollMost    = 5 * time.Minute // after many that did not
	pollLook    = 2 * time.Second // between looks whether peers are wanted
	findTimeout = time.Minute
	maxFound    = 256 // peers taken of one find
)

// PollerConfig is what a Poller needs.
type PollerConfig struct {
	// Want is the number of peers looked for; the source is not asked while it is
	// 0 or less. Required.
	Want func() int
	// Found takes a candidate and tells whether it was new. Required.
	Found func(peer.AddrInfo) bool
	Rand  *rand.Rand // as that of Config
	Obs   *obs.Obs   // default: discard
}

// Poller asks a source again and again while peers are wanted: soon after it
// brought something new, and less and less often when it does not.
type Poller struct {
	src    Source
	cfg    PollerConfig
	cancel context.CancelFunc
	ctx    context.Context
	once   sync.Once
	done   chan struct{}
}

// NewPoller makes a poller that does not run yet.
func NewPoller(src Source, cfg PollerConfig) *Poller {
	cfg.Rand = random.Or(cfg.Rand)
	cfg.Obs = obs.Or(cfg.Obs)
	p := &Poller{src: src, cfg: cfg, done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// nextPoll is how long to wait after so many finds in a row that brought nothing
// new, with rnd in [0,1).
func nextPoll(idle int, rnd float64) time.Duration {
	d := pollMost
	if idle < 10 {
		d = min(pollFirst<<idle, pollMost)
	}
	return d - time.Duration(rnd*float64(d)/3)
}

func (p *Poller) run() {
	defer close(p.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	idle := 0
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-timer.C:
		}
		want := p.cfg.Want()
		if want <= 0 {
			timer.Reset(pollLook + time.Duration(p.cfg.Rand.Int64N(int64(pollLook))))
			continue
		}
		if p.find(want) > 0 {
			idle = 0
		} else {
			idle++
		}
		timer.Reset(nextPoll(idle, p.cfg.Rand.Float64()))
	}
}

// find asks once, and returns how many were new.
func (p *Poller) find(want int) (fresh int) {
	ctx, cancel := context.WithTimeout(p.ctx, findTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Obs.Panicked(obs.Panic{Component: component, In: "Find", Value: v, Count: p.cfg.Obs.Counter(obs.ExchangePanics)})
		}
	}()
	var mu sync.Mutex // a source may hand over from several goroutines
	taken := 0
	err := p.src.Find(ctx, want, func(ai peer.AddrInfo) {
		mu.Lock()
		defer mu.Unlock()
		if taken++; taken <= maxFound && ctx.Err() == nil && p.cfg.Found(ai) {
			fresh++
		}
	})
	if err != nil && p.ctx.Err() == nil {
		p.cfg.Obs.Counter(obs.SourceFailed).Inc(1)
		p.cfg.Obs.Log(component).WithField("source", p.src.Name()).WithField("error", obs.Clean(err.Error())).Debug("finding peers failed")
	}
	mu.Lock()
	defer mu.Unlock()
	return fresh
}

// Start begins to ask, once.
func (p *Poller) Start() { p.once.Do(func() { go p.run() }) }

// Close ends the asking and waits for it, until ctx ends.
func (p *Poller) Close(ctx context.Context) error {
	p.cancel()
	p.once.Do(func() { close(p.done) }) // it was never started
	if !lifecycle.Ended(ctx, p.done) {
		return ctx.Err()
	}
	return nil
}
