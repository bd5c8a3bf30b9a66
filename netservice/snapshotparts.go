package netservice

import (
	"encoding/hex"
	"maps"
	"slices"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/inspect"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// problems are what the node knows to be wrong with itself, in words.
func problems(st Stats) (all []string) {
	if st.Book.Error != "" {
		all = append(all, "The address book could not be saved: "+obs.Clean(st.Book.Error))
	}
	if st.Reachability.State == "private" {
		all = append(all, "Other nodes found that this one cannot be dialled from outside.")
	}
	return all
}

// failures are the calls of a method that failed, by code as in the metrics.
func (x snapshots) failures(method string, failed int64) map[string]uint64 {
	if failed == 0 {
		return nil
	}
	by := make(map[string]uint64)
	for _, code := range []string{"transport", "not_found", "busy", "bad_request", "too_large", "unsupported", "internal", "timeout", "application", obs.OtherReason} {
		if c, ok := x.s.obs.Registry().Get(obs.RequestErrors + code + "." + method).(metrics.Counter); ok && c.Count() > 0 {
			by[code] = uint64(c.Count())
		}
	}
	return by
}

func (x snapshots) methods(st RequestStats) (shown []inspect.Method) {
	count := func(n int64) uint64 { return uint64(max(n, 0)) }
	for _, name := range slices.Sorted(maps.Keys(st.Methods)) {
		m := st.Methods[name]
		shown = append(shown, inspect.Method{
			Name: name, Calls: count(m.Calls), Failed: count(m.Failed), P95: m.P95.Seconds(),
			Handled: count(m.Handled), Answered: count(m.Answered), Cancelled: count(m.Cancelled),
			Running: m.Running, Waiting: m.Waiting, BytesIn: count(m.BytesIn), BytesOut: count(m.BytesOut),
			Latency: x.buckets(obs.RequestLatency + "." + name), Took: x.buckets(obs.RequestHandlerTime + "." + name),
			Errors: x.failures(name, m.Failed),
		})
	}
	return shown
}

// buckets reads a histogram of the registry; nil without any.
func (x snapshots) buckets(name string) (shown []inspect.Bucket) {
	h, ok := x.s.obs.Registry().Get(name).(obs.Buckets)
	if !ok {
		return nil
	}
	edges, atMost, count, _ := h.Buckets()
	var before uint64
	for i, edge := range edges {
		shown = append(shown, inspect.Bucket{UpTo: float64(edge) / 1e6, Count: atMost[i] - before})
		before = atMost[i]
	}
	return append(shown, inspect.Bucket{UpTo: -1, Count: count - before})
}

// Traces lists the ways of messages.
func (x snapshots) Traces(n int) (list []inspect.Trace, on bool) {
	for _, t := range x.s.Traces(n) {
		list = append(list, traceShown(t))
	}
	return list, x.s.node.tracer.Load() != nil
}

// Trace is the way of one message.
func (x snapshots) Trace(msgType, hash string) (inspect.Trace, bool) {
	t, ok := x.s.Trace(msgType, hash)
	return traceShown(t), ok
}

func traceShown(t MessageTrace) inspect.Trace {
	shown := inspect.Trace{Type: t.Type, Hash: t.Hash, Size: t.Size, Omitted: t.Omitted}
	for _, step := range t.Steps {
		s := inspect.TraceStep{At: step.At, What: string(step.What), Detail: step.Detail}
		if step.Peer != "" {
			s.Peer = step.Peer.String()
		}
		shown.Steps = append(shown.Steps, s)
	}
	return shown
}

func largeShown(l LargeStats) inspect.Large {
	shown := inspect.Large{Held: l.Held, Own: l.Own, WireIn: uint64(l.WireIn), WireOut: uint64(l.WireOut), Messages: []inspect.LargeMessage{}}
	for _, m := range l.Messages {
		one := inspect.LargeMessage{
			ID: hex.EncodeToString(m.ID[:]), Type: m.Type, Phase: m.Phase, Size: m.Size, Here: m.Here, Out: m.Out, Began: m.Began,
			Holders: m.Holders, Told: m.Told, Cut: m.Cut, Took: m.Took.Seconds(), Duplicates: m.Tally.Duplicates,
			PromisesKept: m.Tally.PromisesKept, PromisesBroken: m.Tally.PromisesBroken, Served: m.Tally.Served,
		}
		if m.From != "" {
			one.From = m.From.String()
		}
		shown.Messages = append(shown.Messages, one)
	}
	return shown
}

// largeTypeShown is nil for a type that has had no large broadcast.
func largeTypeShown(l LargeTypeStats) *inspect.LargeType {
	if l == (LargeTypeStats{}) {
		return nil
	}
	count := func(n int64) uint64 { return uint64(max(n, 0)) }
	shown := &inspect.LargeType{
		Announced: count(l.Announced), Fetched: count(l.Fetched), Published: count(l.Published), Refused: count(l.Refused),
		Expired: count(l.Expired), Stalled: count(l.Stalled), TurnedAway: count(l.TurnedAway),
		Chunks: count(l.Chunks), Duplicates: count(l.Duplicates), Junk: count(l.Junk), Lies: count(l.Lies),
		PromisesKept: count(l.PromisesKept), PromisesBroken: count(l.PromisesBroken), Snubs: count(l.Snubs),
		Served: count(l.Served), BytesIn: count(l.BytesIn), BytesOut: count(l.BytesOut),
	}
	if l.Fetched > 0 {
		shown.Mean = l.TimeToWhole.Seconds() / float64(l.Fetched)
	}
	return shown
}
