package inspect

import "time"

// Sample is one point of the charts.
type Sample struct {
	At     time.Time `json:"at"`
	Peers  int       `json:"peers"`
	Totals Totals    `json:"totals"`
}

// Rate is what went on between two samples, a second.
type Rate struct {
	MessagesIn  float64 `json:"messages_in_per_second"`
	MessagesOut float64 `json:"messages_out_per_second"`
	BytesIn     float64 `json:"bytes_in_per_second"`
	BytesOut    float64 `json:"bytes_out_per_second"`
	Dropped     float64 `json:"dropped_per_second"`
}

// rate compares two samples. Sums over the sessions that live now can fall when
// a peer leaves: then the rate is 0, not negative.
func rate(from, to Sample) Rate {
	secs := to.At.Sub(from.At).Seconds()
	if secs <= 0 {
		return Rate{}
	}
	per := func(a, b uint64) float64 {
		if b <= a {
			return 0
		}
		return float64(b-a) / secs
	}
	return Rate{
		MessagesIn:  per(from.Totals.MessagesIn, to.Totals.MessagesIn),
		MessagesOut: per(from.Totals.MessagesOut, to.Totals.MessagesOut),
		BytesIn:     per(from.Totals.BytesIn, to.Totals.BytesIn),
		BytesOut:    per(from.Totals.BytesOut, to.Totals.BytesOut),
		Dropped:     per(from.Totals.Dropped, to.Totals.Dropped),
	}
}

// PeerRate is what one peer sent and was sent, in bytes a second.
type PeerRate struct {
	In  float64 `json:"bytes_in_per_second"`
	Out float64 `json:"bytes_out_per_second"`
}

// peerRates compares the peers of two snapshots. A peer that is new, or has a
// new session, has no rate yet.
func peerRates(from, to *Snapshot) map[string]PeerRate {
	rates := make(map[string]PeerRate, len(to.Peers))
	secs := to.At.Sub(from.At).Seconds()
	if secs <= 0 {
		return rates
	}
	before := make(map[string]*Peer, len(from.Peers))
	for i := range from.Peers {
		before[from.Peers[i].ID] = &from.Peers[i]
	}
	for i := range to.Peers {
		p := &to.Peers[i]
		was := before[p.ID]
		if was == nil || !was.Since.Equal(p.Since) || p.BytesIn < was.BytesIn || p.BytesOut < was.BytesOut {
			continue
		}
		rates[p.ID] = PeerRate{In: float64(p.BytesIn-was.BytesIn) / secs, Out: float64(p.BytesOut-was.BytesOut) / secs}
	}
	return rates
}

// TypeRate is how many messages of a type came, went and were lost, a second.
type TypeRate struct {
	In   float64 `json:"in_per_second"`
	Out  float64 `json:"out_per_second"`
	Lost float64 `json:"lost_per_second"`
}

func typeRates(from, to *Snapshot) map[string]TypeRate {
	secs := to.At.Sub(from.At).Seconds()
	if secs <= 0 {
		return nil
	}
	before := make(map[string]*Type, len(from.Types))
	for i := range from.Types {
		before[from.Types[i].Name] = &from.Types[i]
	}
	rates := make(map[string]TypeRate, len(to.Types))
	for i := range to.Types {
		t := &to.Types[i]
		was := before[t.Name]
		if was == nil {
			was = new(Type)
		}
		rates[t.Name] = TypeRate{
			In:   float64(grown(was.in(), t.in())) / secs,
			Out:  float64(grown(was.out(), t.out())) / secs,
			Lost: float64(grown(was.lost(), t.lost())) / secs,
		}
	}
	return rates
}

// in is what came of a type in whatever way, copies included.
func (t *Type) in() (n uint64) {
	n = t.Direct.Received
	if g := t.Gossip; g != nil {
		n += g.Delivered + g.Duplicates + g.Rejected + g.Ignored + g.Expired + sum(g.TurnedAway)
	}
	return n
}

func (t *Type) out() (n uint64) {
	n = t.Sent.Written
	if g := t.Gossip; g != nil {
		n += g.Published
	}
	return n
}

// lost is what was dropped here, or turned away.
func (t *Type) lost() (n uint64) {
	n = sum(t.Sent.Dropped) + sum(t.Arrived.Dropped)
	for _, sub := range t.Subscribers {
		n += sum(sub.Dropped)
	}
	if g := t.Gossip; g != nil {
		n += g.Dropped + g.Unsent + g.Forgotten + sum(g.TurnedAway)
	}
	return n
}

// CallRate is how many calls of a method ended here, and were handled for others, a
// second.
type CallRate struct{ Calls, Handled float64 }

func callRates(from, to *Snapshot) map[string]CallRate {
	secs := to.At.Sub(from.At).Seconds()
	if secs <= 0 {
		return nil
	}
	before := make(map[string]Method, len(from.Methods))
	for _, m := range from.Methods {
		before[m.Name] = m
	}
	rates := make(map[string]CallRate, len(to.Methods))
	for _, m := range to.Methods {
		was := before[m.Name]
		rates[m.Name] = CallRate{float64(grown(was.Calls, m.Calls)) / secs, float64(grown(was.Handled, m.Handled)) / secs}
	}
	return rates
}

// ring keeps the samples of the last ten minutes, oldest first.
type ring struct{ samples []Sample }

// Times of the sampler.
const (
	sampleEvery = time.Second
	keepFor     = 10 * time.Minute
)

func (r *ring) add(s Sample) {
	r.samples = append(r.samples, s)
	old := 0
	for old < len(r.samples) && s.At.Sub(r.samples[old].At) > keepFor {
		old++
	}
	r.samples = r.samples[old:]
}

// minuteAgo is the sample from which to count what happened lately: the oldest
// of the last minute.
func (r *ring) minuteAgo() (Sample, bool) {
	if len(r.samples) == 0 {
		return Sample{}, false
	}
	last := r.samples[len(r.samples)-1]
	for _, s := range r.samples {
		if last.At.Sub(s.At) <= time.Minute {
			return s, true
		}
	}
	return last, true
}
