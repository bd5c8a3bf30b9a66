package dispatcher

import "github.com/go-nebnet/nebnet/internal/obs"

// meters carries totals over to the metrics registry, where dispatchers may share
// counters. That happens with every tick, so that counting costs nothing per message.
type meters struct {
	obs  *obs.Obs
	last map[string]uint64 // what the counters have got, by name
}

// meter brings the metrics up to date. The loop calls it, and Stop when the loop has
// ended.
func (d *Dispatcher) meter() {
	s := d.Stats()
	m := &d.meters
	waiting := s.Total.Queued
	for _, sub := range s.Subscribers {
		waiting += sub.Queued
	}
	d.obs.Gauge(obs.DispatcherCached).Update(int64(waiting))
	m.count(obs.DispatcherReceived, s.Total.Received)
	m.count(obs.DispatcherDelivered, s.Total.Delivered)
	m.count(obs.DispatcherDuplicate, s.Total.Duplicate)
	m.count(obs.DispatcherUnrouted, s.Total.Unrouted)
	m.count(obs.DispatcherPanics, s.Panics)
	for reason, n := range s.Total.Dropped {
		m.count(obs.DispatcherDropped+string(reason), n)
	}
	for typ, t := range s.Types {
		m.countType(typ, t)
	}
	m.countType(obs.OtherType, s.Other)
}

func (m *meters) countType(typ string, t TypeStats) {
	m.count(obs.DispatcherReceived+"."+typ, t.Received)
	m.count(obs.DispatcherDelivered+"."+typ, t.Delivered)
	m.count(obs.DispatcherDuplicate+"."+typ, t.Duplicate)
	m.count(obs.DispatcherUnrouted+"."+typ, t.Unrouted)
	m.count(obs.DispatcherLost+"."+typ, t.DroppedTotal())
}

func (m *meters) count(name string, total uint64) {
	m.obs.Counter(name).Inc(int64(total - m.last[name]))
	m.last[name] = total
}
