package netservice

// typeStats describes the types.
func (n *Node) typeStats() map[string]TypeStats {
	out := make(map[string]TypeStats)
	n.types.mu.Lock()
	defer n.types.mu.Unlock()
	n.types.states.Range(func(name, v any) bool {
		s := v.(*typeState)
		out[name.(string)] = TypeStats{
			MaxSize: s.spec.MaxSize, Priority: s.spec.Priority.String(), Compression: s.spec.Compression.String(),
			Weight: int(n.dispatch.Weight(name.(string))), Broadcast: !s.spec.NoBroadcast, Direct: !s.asked.NoDirect,
			Relay: !s.spec.NoBroadcast && !s.spec.Broadcast.ExplicitRelay, Open: s.spec.Broadcast.Open,
			Subscribers: s.subscribers,
		}
		return true
	})
	return out
}
