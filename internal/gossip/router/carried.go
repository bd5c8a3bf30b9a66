package router

// A message may be carried by another protocol (Message.Carried), which brings it here
// once it is whole. It is validated, counted and known as all others are; what becomes of
// it is told with one effect. Copies go to peers that the caller does not know to take
// it the other way.

// spread lets a message go on.
func (r *Router) spread(m *Message) {
	if m.Carried {
		r.out = append(r.out, Effect{Kind: Spread, Msg: m})
	}
}

// ended tells that a message does not go on.
func (r *Router) ended(m *Message, why Action) {
	if m != nil && m.Carried {
		r.out = append(r.out, Effect{Kind: Ended, Msg: m, Verdict: Verdict{Action: why}})
	}
}
