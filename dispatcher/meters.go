package dispatcher

import (
	"sync"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// meters carries totals over to the metrics registry. That happens with every
// tick, so that counting costs nothing per message.
type meters struct {
	mu   sync.Mutex // guards what follows
	last map[string]uint64
}

func (d *Dispatcher) meter() {
	s := d.Stats()
	m := &d.meters
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = make(map[string]uint64)
	}
	waiting := s.Total.Queued
	for _, sub := range s.Subscribers {
		waiting += sub.Queued
	}
	d.obs.Gauge(obs.DispatcherCached).Update(int64(waiting))
	m.count(d.obs, obs.DispatcherReceived, s.Total.Received)
	m.count(d.obs, obs.DispatcherDelivered, s.Total.Delivered)
	m.count(d.obs, obs.DispatcherDuplicate, s.Total.Duplicate)
	m.count(d.obs, obs.DispatcherUnrouted, s.Total.Unrouted)
	m.count(d.obs, obs.DispatcherPanics, s.Panics)
	for reason, n := range s.Total.Dropped {
		m.count(d.obs, obs.DispatcherDropped+string(reason), n)
	}
	for typ, t := range s.Types {
		m.countType(d.obs, typ, t)
	}
	m.countType(d.obs, obs.OtherType, s.Other)
}

func (m *meters) countType(o *obs.Obs, typ string, t TypeStats) {
	m.count(o, obs.DispatcherReceived+"."+typ, t.Received)
	m.count(o, obs.DispatcherDelivered+"."+typ, t.Delivered)
	m.count(o, obs.DispatcherDuplicate+"."+typ, t.Duplicate)
	m.count(o, obs.DispatcherUnrouted+"."+typ, t.Unrouted)
	m.count(o, obs.DispatcherLost+"."+typ, t.DroppedTotal())
}

func (m *meters) count(o *obs.Obs, name string, total uint64) {
	o.Counter(name).Inc(int64(total - m.last[name]))
	m.last[name] = total
}
