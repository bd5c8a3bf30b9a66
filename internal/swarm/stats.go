package swarm

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
)

// Stats is what the engine has done since it was made, and how it stands now.
type Stats struct {
	Types    map[string]sched.Counts
	Messages []sched.View // that are under way, or served
	// Held is how many bytes are set aside for messages of others, Own for own ones.
	Held, Own int
	// WireIn and WireOut are all bytes on the streams.
	WireIn, WireOut int64
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{Types: e.sched.Counts(), Messages: e.sched.Views()}
	s.Held, s.Own = e.sched.Used()
	s.WireIn, s.WireOut = e.wireIn.Count(), e.wireOut.Count()
	return s
}

// exportEvery is how often the metrics are told what was counted: a metric for each
// chunk would cost more.
const exportEvery = time.Second

// export tells the metrics what was counted since the last time.
func (e *Engine) export() {
	e.mu.Lock()
	now := e.sched.Counts()
	was := e.exported
	e.exported = now
	others, own := e.sched.Used()
	e.mu.Unlock()
	e.cfg.Obs.Gauge(obs.SwarmHeld).Update(int64(others + own))
	for typ, n := range now {
		o := was[typ]
		if n == o {
			continue
		}
		for _, c := range []struct {
			name     string
			now, was int64
		}{
			{obs.SwarmAnnounced, n.Announced, o.Announced}, {obs.SwarmFetched, n.Fetched, o.Fetched},
			{obs.SwarmPublished, n.Published, o.Published}, {obs.SwarmRefused, n.Refused, o.Refused},
			{obs.SwarmExpired, n.Expired, o.Expired}, {obs.SwarmStalled, n.Stalled, o.Stalled},
			{obs.SwarmTurnedAway, n.TurnedAway, o.TurnedAway}, {obs.SwarmChunks, n.Chunks, o.Chunks},
			{obs.SwarmDuplicates, n.Duplicates, o.Duplicates}, {obs.SwarmJunk, n.Junk, o.Junk},
			{obs.SwarmLies, n.Lies, o.Lies}, {obs.SwarmPromisesKept, n.PromisesKept, o.PromisesKept},
			{obs.SwarmPromisesBroken, n.PromisesBroken, o.PromisesBroken}, {obs.SwarmSnubs, n.Snubs, o.Snubs},
			{obs.SwarmServed, n.Served, o.Served}, {obs.SwarmBytesIn, n.BytesIn, o.BytesIn},
			{obs.SwarmBytesOut, n.BytesOut, o.BytesOut},
		} {
			if c.now > c.was {
				e.cfg.Obs.ByType(c.name, typ).Inc(c.now - c.was)
			}
		}
	}
}
