package listener

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/stream"
)

// Registry knows what is listening. It is safe for concurrent use, and hands
// out snapshots only.
type Registry struct {
	obs     *obs.Obs
	closers sync.WaitGroup // goroutines that close a listener whose context ended

	mu     sync.Mutex // guards the fields below
	last   uint64
	all    map[uint64]*Listener
	served map[protocol.ID]bool // by listeners of kind Remote or Program
	closed bool
}

// NewRegistry returns an empty registry that logs to log and counts in reg. With nil
// it does not, or nowhere to be seen.
func NewRegistry(log *logrus.Logger, reg metrics.Registry) *Registry {
	return &Registry{obs: obs.Quiet(log, reg), all: make(map[uint64]*Listener), served: make(map[protocol.ID]bool)}
}

// NextID returns an identity for a listener that is about to be added.
func (r *Registry) NextID() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.last
}

// Add takes a listener in under an identity from NextID. It fails with
// ErrProtocolTaken when the protocol is served already, and with ErrClosed
// after Shutdown; the caller then frees what it holds.
func (r *Registry) Add(id uint64, cfg Config) (*Listener, error) {
	l := &Listener{reg: r, id: id, cfg: cfg, opened: time.Now(), done: make(chan struct{})}
	if err := r.add(l); err != nil {
		return nil, err
	}
	l.follow()
	return l, nil
}

func (r *Registry) add(l *Listener) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if l.cfg.Kind != Local {
		if r.served[l.cfg.Protocol] {
			return ErrProtocolTaken
		}
		r.served[l.cfg.Protocol] = true
	}
	r.all[l.id] = l
	return nil
}

// enter counts a goroutine that Shutdown has to wait for; false after it.
func (r *Registry) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.closers.Add(1)
	return true
}

func (r *Registry) remove(l *Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[l.id] != l {
		return
	}
	delete(r.all, l.id)
	if l.cfg.Kind != Local {
		delete(r.served, l.cfg.Protocol)
	}
}

// stopped logs the end of a listener.
func (r *Registry) stopped(l *Listener, state State, err error) {
	entry := r.obs.Log("tunnel").WithFields(logrus.Fields{
		"listener": l.id, "protocol": string(l.cfg.Protocol), "listen": l.cfg.Listen.String(),
	})
	if state == Failed {
		entry.WithError(err).Error("tunnel listener failed")
		return
	}
	entry.Info("tunnel listener closed")
}

// List returns the listeners in the order in which they were made.
func (r *Registry) List() []Info { return infos(r.match(nil)) }

// Get returns one listener.
func (r *Registry) Get(id uint64) (Info, bool) {
	r.mu.Lock()
	l := r.all[id]
	r.mu.Unlock()
	if l == nil {
		return Info{}, false
	}
	return l.Info(), true
}

// Close closes the listeners that match. Their running streams go on. It
// returns the listeners as they were, and the streams that go on.
func (r *Registry) Close(m Match) (closed []Info, running []stream.Info) {
	list := r.match(m)
	closed = infos(list)
	for _, l := range list {
		_ = l.Close()
		running = append(running, l.cfg.Group.List()...)
	}
	return closed, running
}

// CloseStreams closes the listeners that match and resets their streams. It
// returns both as they were, when all their goroutines have ended.
func (r *Registry) CloseStreams(m Match) (closed []Info, reset []stream.Info) {
	list := r.match(m)
	closed = infos(list)
	for _, l := range list {
		reset = append(reset, l.CloseStreams()...)
	}
	return closed, reset
}

// Shutdown takes no more listeners and closes all.
func (r *Registry) Shutdown() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Close(All())
	r.closers.Wait()
}

func (r *Registry) match(m Match) []*Listener {
	r.mu.Lock()
	list := make([]*Listener, 0, len(r.all))
	for _, l := range r.all {
		list = append(list, l)
	}
	r.mu.Unlock()
	if m != nil {
		list = slices.DeleteFunc(list, func(l *Listener) bool { return !m(l.Info()) })
	}
	slices.SortFunc(list, func(a, b *Listener) int { return cmp.Compare(a.id, b.id) })
	return list
}

func infos(list []*Listener) []Info {
	out := make([]Info, len(list))
	for i, l := range list {
		out[i] = l.Info()
	}
	return out
}
