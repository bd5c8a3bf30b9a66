package dispatcher

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// topic is one message type: its subscriptions, its inbox, its filter and its
// counts.
type topic struct {
	d        *Dispatcher
	name     string
	seeds    seeds
	filter   filter
	interest interest
	wait     metrics.Histogram
	subs     sync.Map // ID → *subscription, those being registered included
	// What refused messages get: made once, because an overload refuses many.
	errFull, errNoCredit error

	filtering atomic.Bool  // a subscription filters: PutMessage computes keys
	waiting   atomic.Int32 // calls that wait; for those that give credit back

	mu           sync.Mutex      // guards what follows, and credit.granted of its subscriptions
	list         []*subscription // registered, in order; copied on write: the loop reads it outside
	lossless     []*subscription // those of list that are
	inbox        []item          // admitted, the loop has not looked yet
	inboxBytes   int
	pending      int // taken by the loop and not accounted for yet
	pendingBytes int
	seq          uint64 // position of the next message to be admitted
	scheduled    bool   // the loop knows that there is something to do
	closed       bool
	known        bool // has or had a subscriber
	waiters      waitList
	received     uint64
	refused      uint64
	counts       [fates]uint64
	sample       sample

	// The loop's, apart from the mutex's cache line.
	_         [64]byte
	batch     []item // what the loop has taken
	next      int    // index in batch of the first that was not offered
	first     uint64 // its position
	seqAtTick uint64
}

func newTopic(d *Dispatcher, name string) *topic {
	return &topic{
		d: d, name: name, seeds: newSeeds(), filter: filter{limit: d.cfg.FilterSize},
		interest: interest{token: make(chan struct{}, 1)},
		wait:     d.obs.Histogram(obs.DispatcherWait + "." + name),
		errFull: fmt.Errorf("%w: of type %s wait as many messages as may, %d or %d bytes (QueueSize, QueueBytes)",
			ErrQueueFull, name, d.cfg.QueueSize, d.cfg.QueueBytes),
		errNoCredit: fmt.Errorf("%w: type %s, or a lossless subscriber of it (WithQueue), takes no more now", ErrQueueFull, name),
	}
}

// join makes a subscription get what is admitted from now on.
func (t *topic) join(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.from, t.known = t.seq, true
	t.list = append(slices.Clip(t.list), s)
	t.listedLocked()
}

// leave takes a subscription out and reports whether it was in.
func (t *topic) leave(s *subscription) bool {
	t.mu.Lock()
	i := slices.Index(t.list, s)
	if i < 0 {
		t.mu.Unlock()
		return false
	}
	t.list = slices.Delete(slices.Clone(t.list), i, i+1)
	t.listedLocked()
	t.mu.Unlock()
	t.grant() // somebody may have waited for this one alone
	return true
}

// listedLocked brings what depends on the list up to date.
func (t *topic) listedLocked() {
	t.lossless = nil
	filtering := false
	for _, s := range t.list {
		if s.policy == Lossless {
			t.lossless = append(t.lossless, s)
		}
		filtering = filtering || s.last().filters
	}
	t.filtering.Store(filtering)
}

// interest tells the owner of a dispatcher when a topic gains its first
// subscriber and when it loses its last one, in order and one call at a time.
// Whoever needs the outcome of a call waits for the token.
type interest struct {
	token chan struct{} // capacity 1: who has put something in counts, and calls the owner
	n     int           // subscribers, those being registered included; of who has the token
}

// begin counts a subscriber that is about to be registered. With the first one
// the owner is asked, whose error means that it cannot be registered.
func (t *topic) begin() error {
	i := &t.interest
	i.token <- struct{}{}
	defer func() { <-i.token }() // also when the owner's code ends the goroutine
	if i.n == 0 && t.d.opened != nil {
		if err := t.d.ask("opening of "+t.name, func() error { return t.d.opened(t.name) }); err != nil {
			return err
		}
	}
	i.n++
	return nil
}

// end undoes begin. With the last one the owner is told.
func (t *topic) end() {
	i := &t.interest
	i.token <- struct{}{}
	defer func() { <-i.token }()
	if i.n--; i.n == 0 && t.d.closed != nil {
		_ = t.d.ask("closing of "+t.name, func() error { t.d.closed(t.name); return nil }) // counts a panic
	}
}
