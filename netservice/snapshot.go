package netservice

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/inspect"
)

// snapshots reads a service for its inspector.
type snapshots struct{ s *NebService }

// Snapshot reads the service as it is now.
func (x snapshots) Snapshot() inspect.Snapshot {
	st := x.s.Stats()
	out := inspect.Snapshot{At: time.Now(), Node: x.node(st), Boot: x.boot()}
	infos := x.peers(st)
	out.Peers = slices.Grow(out.Peers, len(infos))
	for _, p := range infos {
		out.Peers = append(out.Peers, peerShown(p, st))
	}
	out.Types = x.types(st)
	out.Methods = x.methods(st.Requests)
	out.Requests = inspect.Requests{Calls: st.Requests.Calls, Served: st.Requests.Served, ServedBytes: st.Requests.ServedBytes}
	out.Large = largeShown(st.Large)
	out.Problems = problems(st)
	for _, p := range out.Peers {
		if p.Direction == "inbound" {
			out.Node.Inbound++
		}
	}
	out.Tunnels, out.Streams = x.tunnels()
	out.Totals = totals(st, out.Types)
	return out
}

// peers are NebService.Peers, without reading anew what Stats has read.
func (x snapshots) peers(st Stats) []PeerInfo {
	if x.s.running() != nil {
		return nil
	}
	return x.s.node.detailed(x.s.node.peerInfos(), st)
}

func (x snapshots) node(st Stats) inspect.Node {
	n, limits := x.s.node, x.s.PeerLimits()
	shown := inspect.Node{
		ID: n.ID().String(), Network: n.Network(), Chain: n.cfg.ChainID, Agent: n.cfg.Agent,
		State: state(x.s.state.Load()).String(), MaxPeers: limits.MaxPeers,
		MaxInbound: int(math.Ceil(float64(limits.MaxPeers) * max(limits.InboundShare, 0))), Banned: len(x.s.Bans()),
		Reachability: st.Reachability.State,
		Parked:       st.Gossip.Parked, ParkedBytes: st.Gossip.ParkedBytes,
	}
	if at := x.s.startedAt.Load(); at != 0 {
		shown.Started = time.Unix(0, at)
	}
	for _, a := range n.Addrs() {
		shown.Addrs = append(shown.Addrs, a.String())
	}
	return shown
}

func (s state) String() string {
	return [...]string{"not started", "starting", "running", "stopped"}[s]
}

func (x snapshots) boot() (boot []inspect.Boot) {
	running := x.s.running() == nil
	for _, ai := range x.s.node.addrs.bootstrap {
		boot = append(boot, inspect.Boot{ID: ai.ID.String(), Connected: running && x.s.node.peerSet.has(ai.ID)})
	}
	return boot
}

// peerShown joins what is known of a peer.
func peerShown(p PeerInfo, st Stats) inspect.Peer {
	id := p.ID.String()
	streams, gossip := st.Peers[id], st.Gossip.Peers[p.ID]
	shown := inspect.Peer{
		ID: id, Agent: p.Agent, Addr: p.Addr.String(), Direction: "inbound", Transport: p.Transport,
		Since: p.Since, Session: p.Session, RTT: p.RTT.Seconds(), Version: p.Version, Capabilities: p.Capabilities,
		MessagesIn: streams.Receive.Messages + uint64(gossip.MessagesIn), MessagesOut: streams.Send.Written + uint64(gossip.MessagesOut),
		BytesIn: p.BytesIn, BytesOut: p.BytesOut,
		Queue: streams.Send.Pending, QueueBytes: streams.Send.PendingBytes + int(gossip.Waiting),
		Dropped: streams.Send.Dropped, Faults: streams.Receive.Faults,
		Mesh: gossip.Mesh, Score: gossip.Score,
	}
	if p.Direction == network.DirOutbound {
		shown.Direction = "outbound"
	}
	for _, d := range p.Differing {
		shown.Differs = append(shown.Differs, differs(d))
	}
	if p.Protected != "" {
		shown.Protected = []string{p.Protected}
	}
	v := p.Value
	shown.Value = v.Total
	shown.ValueParts = []inspect.Part{
		{Name: "useful", Value: v.Useful}, {Name: "latency", Value: v.Latency}, {Name: "age", Value: v.Age},
		{Name: "gossip", Value: v.Gossip}, {Name: "answers", Value: v.Answers}, {Name: "penalty", Value: v.Penalty},
	}
	g := gossip.Parts
	shown.ScoreParts = []inspect.Part{
		{Name: "types", Value: g.Topics}, {Name: "program", Value: g.Application}, {Name: "address", Value: g.Colocation},
		{Name: "behaviour", Value: g.Behaviour}, {Name: "faults", Value: g.Faults}, {Name: "ignored", Value: g.Ignored},
	}
	if p.LastEnded != ReasonNone {
		shown.LastEnded = p.LastEnded.String()
	}
	return shown
}

// differs says in words how two nodes declare a type.
func differs(d TypeDifference) string {
	var parts []string
	if d.Ours.MaxSize != d.Theirs.MaxSize {
		parts = append(parts, fmt.Sprintf("at most %d bytes here, %d there", d.Ours.MaxSize, d.Theirs.MaxSize))
	}
	for _, p := range []struct {
		what         string
		ours, theirs bool
	}{
		{"broadcast", !d.Ours.NoBroadcast, !d.Theirs.NoBroadcast},
		{"timed", d.Ours.Timed, d.Theirs.Timed},
	} {
		switch {
		case p.ours && !p.theirs:
			parts = append(parts, p.what+" here only")
		case p.theirs && !p.ours:
			parts = append(parts, p.what+" there only")
		}
	}
	return d.Type + ": " + strings.Join(parts, ", ")
}

// types shows every type that is known here or by the dispatcher.
func (x snapshots) types(st Stats) []inspect.Type {
	all := make(map[string]*inspect.Type)
	of := func(name string) *inspect.Type {
		if all[name] == nil {
			all[name] = &inspect.Type{Name: name}
		}
		return all[name]
	}
	x.s.node.types.states.Range(func(_, v any) bool {
		spec := v.(*typeState).spec
		t := of(spec.Name)
		t.MaxSize, t.Priority = spec.MaxSize, spec.Priority.String()
		return true
	})
	for _, p := range st.Peers {
		for name, ts := range p.Types {
			t := of(name)
			t.Sent.Queued += ts.Send.Queued
			t.Sent.Written += ts.Send.Written
			t.Sent.Pending += ts.Send.Pending
			t.Sent.Dropped = plus(t.Sent.Dropped, ts.Send.Dropped)
			t.Direct.Received += ts.Receive.Messages
			t.Direct.Faults += ts.Receive.Faults
		}
	}
	for name, g := range st.Gossip.Types {
		of(name).Gossip = gossipShown(g)
	}
	for name, l := range st.Large.Types {
		of(name).Large = largeTypeShown(l)
	}
	for name, d := range st.Dispatcher.Types {
		of(name).Arrived = inspect.Arrived{
			Received: d.Received, Delivered: d.Delivered, Duplicate: d.Duplicate, Unrouted: d.Unrouted,
			Dropped: byText(d.Dropped), Queued: d.Queued, Waiting: d.Waiting,
		}
	}
	for _, sub := range st.Dispatcher.Subscribers {
		t := of(sub.Type)
		t.Subscribers = append(t.Subscribers, subscriberShown(sub))
	}
	types := make([]inspect.Type, 0, len(all))
	for _, t := range all {
		types = append(types, *t)
	}
	slices.SortFunc(types, func(a, b inspect.Type) int { return cmp.Compare(a.Name, b.Name) })
	return types
}

func gossipShown(g GossipTypeStats) *inspect.Gossip {
	count := func(n int64) uint64 { return uint64(max(n, 0)) }
	shown := &inspect.Gossip{
		Topic: g.Topic, Joined: g.Joined, Mesh: g.Mesh,
		Published: count(g.Published), Unsent: count(g.Unsent), Waiting: g.Waiting,
		Delivered: count(g.Delivered), Duplicates: count(g.Duplicates),
		Rejected: count(g.Rejected), Ignored: count(g.Ignored),
		Deferred: count(g.Deferred), Expired: count(g.Expired),
		Retaken: count(g.Retaken), Forgotten: count(g.Forgotten), Dropped: count(g.Dropped), Panics: count(g.Panics),
	}
	for why, n := range g.Away {
		shown.TurnedAway = plus(shown.TurnedAway, map[string]uint64{why: count(n)})
	}
	if g.Delay.Count > 0 {
		shown.Delay = &inspect.Delay{
			Count: count(g.Delay.Count), P50: g.Delay.P50.Seconds(), P99: g.Delay.P99.Seconds(), Max: g.Delay.Max.Seconds(),
		}
	}
	return shown
}

func subscriberShown(sub dispatcher.SubscriberStats) inspect.Subscriber {
	return inspect.Subscriber{
		Name: subscriberName(sub.ID), Policy: sub.Policy.String(),
		Offered: sub.Offered, Delivered: sub.Delivered, Duplicate: sub.Duplicate,
		Dropped: byText(sub.Dropped), Queued: sub.Queued, Full: sub.Backlog > 0, Panics: sub.Panics,
	}
}

// subscriberName is a word for the ID of a subscriber. What a pointer points to
// may be changing.
func subscriberName(id any) string {
	switch id := id.(type) {
	case string:
		return id
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(id)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", id), "*")
}

func (x snapshots) tunnels() (tunnels []inspect.Tunnel, streams []inspect.Stream) {
	p := x.s.P2P()
	if p == nil {
		return nil, nil
	}
	for _, l := range p.Listeners.List() {
		t := inspect.Tunnel{
			ID: l.ID, Kind: l.Kind.String(), Protocol: string(l.Protocol), Listen: l.Listen.String(), Since: l.Opened,
			Active: l.Active, Opened: l.Accepted, Refused: l.Refused, BytesIn: l.BytesIn, BytesOut: l.BytesOut,
		}
		if l.Target != nil {
			t.Target = l.Target.String()
		}
		tunnels = append(tunnels, t)
	}
	for _, s := range p.Streams.List() {
		streams = append(streams, inspect.Stream{
			ID: s.ID, Tunnel: s.Listener, Protocol: string(s.Protocol), Peer: s.Peer.String(), Direction: s.Direction.String(),
			State: s.State.String(), Local: s.Local, Age: s.Age.Seconds(), BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		})
	}
	return tunnels, streams
}

// totals are sums for the charts. A broadcast counts when it is delivered, and
// each copy that gossip sends to a peer is a message out.
func totals(st Stats, types []inspect.Type) (sum inspect.Totals) {
	for _, p := range st.Peers {
		sum.MessagesOut += p.Send.Written
		sum.BytesIn += p.Receive.Bytes
		sum.BytesOut += p.Send.WrittenBytes
	}
	sum.BytesIn += uint64(max(st.Gossip.WireIn, 0))
	sum.BytesOut += uint64(max(st.Gossip.WireOut, 0))
	sum.Panics = st.Dispatcher.Panics
	for _, t := range types {
		sum.MessagesIn += t.Direct.Received
		for _, n := range t.Sent.Dropped {
			sum.Dropped += n
		}
		for _, n := range t.Arrived.Dropped {
			sum.Dropped += n
		}
		for _, sub := range t.Subscribers {
			for _, n := range sub.Dropped {
				sum.Dropped += n
			}
		}
		if g := t.Gossip; g != nil {
			sum.MessagesIn += g.Delivered
			sum.MessagesOut += g.Published
			sum.Dropped += g.Dropped + g.Unsent + g.Forgotten
			sum.Panics += g.Panics
		}
	}
	return sum
}

// Why says how it stands with a peer.
func (x snapshots) Why(text string) (string, bool) {
	w, err := x.s.Why(text)
	return w.String(), err == nil
}

func plus(a, b map[string]uint64) map[string]uint64 {
	if a == nil {
		return maps.Clone(b)
	}
	for k, n := range b {
		a[k] += n
	}
	return a
}

func byText[K ~string](m map[K]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(m))
	for k, n := range m {
		out[string(k)] = n
	}
	return out
}
