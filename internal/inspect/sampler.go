package inspect

import (
	"fmt"
	"sync"
	"time"
)

// sampler takes a snapshot every second while somebody looks.
type sampler struct {
	source Source
	note   func(Event) // takes what snapshots show to have happened

	mu      sync.Mutex // guards the fields below
	viewers int
	left    time.Time // when the last viewer left
	running bool
	closed  bool
	history ring
	now     *Snapshot
	panics  map[string]uint64 // that were noted
	lost    losses
	types   map[string]TypeRate
	calls   map[string]CallRate
	rates   map[string]PeerRate
	next    chan struct{} // closed at the next sample
	quit    chan struct{}
	wg      sync.WaitGroup
}

func newSampler(source Source, note func(Event)) *sampler {
	return &sampler{source: source, note: note, panics: make(map[string]uint64), next: make(chan struct{}), quit: make(chan struct{})}
}

// view is what a page shows.
type view struct {
	Snapshot
	Rates     map[string]PeerRate
	TypeRates map[string]TypeRate
	CallRates map[string]CallRate
	Samples   []Sample
	Alarms    []Alarm
}

// look registers a viewer until done is called. It is false after close.
func (s *sampler) look() (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.viewers++
	if !s.running {
		s.running = true
		s.wg.Go(s.run)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.viewers--
		s.left = time.Now()
	}, true
}

// run is the sampler's goroutine.
func (s *sampler) run() {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		s.sample()
		select {
		case <-t.C:
		case <-s.quit: // close
			return
		}
		s.mu.Lock()
		if s.viewers == 0 && time.Since(s.left) > keepFor {
			// Old samples would be drawn as one long silence.
			s.running, s.history, s.lost, s.now = false, ring{}, losses{}, nil
			s.rates, s.types, s.calls = nil, nil, nil
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// sample reads the node and wakes the viewers.
func (s *sampler) sample() {
	snap := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.rates, s.types, s.calls = peerRates(s.now, &snap), typeRates(s.now, &snap), callRates(s.now, &snap)
	}
	s.lost.add(&snap)
	s.now = &snap
	s.history.add(Sample{At: snap.At, Peers: len(snap.Peers), Totals: snap.Totals})
	close(s.next)
	s.next = make(chan struct{})
}

// read takes a snapshot, and notes the panics that it shows for the first time.
func (s *sampler) read() Snapshot {
	snap := s.source.Snapshot()
	var fresh []Event
	s.mu.Lock()
	for where, n := range panicsOf(&snap) {
		if was := s.panics[where]; n > was {
			fresh = append(fresh, Event{At: snap.At, Kind: "panic", Detail: fmt.Sprintf("%s, %d times", where, n-was)})
		}
		s.panics[where] = n
	}
	s.mu.Unlock()
	for _, e := range fresh {
		s.note(e)
	}
	return snap
}

// view is the latest sample, or one of its own while nobody looks, and the
// channel that is closed at the next.
func (s *sampler) view() (view, <-chan struct{}) {
	s.mu.Lock()
	v := view{Rates: s.rates, TypeRates: s.types, CallRates: s.calls, Samples: s.history.samples}
	next := s.next
	fresh := s.now
	lately, known := s.history.minuteAgo()
	var lost []loss
	if fresh != nil {
		lost = s.lost.since(fresh)
	}
	s.mu.Unlock()
	if fresh == nil {
		snap := s.read()
		fresh = &snap
	}
	v.Snapshot = *fresh
	if known {
		v.Alarms = alarms(fresh, &lately, lost)
	} else {
		v.Alarms = alarms(fresh, nil, nil)
	}
	return v, next
}

// close ends the goroutine and waits for it.
func (s *sampler) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	s.wg.Wait()
}
