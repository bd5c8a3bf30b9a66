package reqresp

import "time"

// Stats is what an engine has done since it was made.
type Stats struct {
	// Methods is by name, of those that are served or were called here.
	Methods map[string]MethodStats
	// Calls is how many calls this node has under way, Served how many of others
	// run or wait here, and ServedBytes what those hold.
	Calls, Served, ServedBytes int
}

// MethodStats are those of one method.
type MethodStats struct {
	// Calls made by this node that have ended, and those of them that failed.
	Calls, Failed int64
	// P95 is the time that 95 of 100 of the latest calls took at most, from the
	// call to the end of its answers; 0 until there were some.
	P95 time.Duration
	// Handled calls of others had a handler; Answered are those of them that it
	// answered without an error, Cancelled those given up before.
	Handled, Answered, Cancelled int64
	// Running and Waiting calls of others.
	Running, Waiting  int
	BytesIn, BytesOut int64 // of answers, received and sent
}

// Stats returns the counts as they are now.
func (e *Engine) Stats() Stats {
	st := Stats{Methods: make(map[string]MethodStats)}
	e.making.mu.Lock()
	st.Calls = e.making.all
	e.making.mu.Unlock()
	e.methods.Range(func(_, v any) bool {
		if m := v.(*method); m.bad == nil {
			st.Methods[m.spec.Name] = m.stats()
		}
		return true
	})
	e.mu.Lock()
	served := make([]*method, 0, len(e.served))
	for _, m := range e.served {
		served = append(served, m)
	}
	e.mu.Unlock()
	e.desk.mu.Lock()
	defer e.desk.mu.Unlock()
	st.Served, st.ServedBytes = e.desk.quota.calls, e.desk.quota.bytes
	for _, m := range served {
		s := m.stats() // the counters of a name are the same ones
		s.P95 = st.Methods[m.spec.Name].P95
		s.Running, s.Waiting = m.admission.running, m.admission.waiting
		st.Methods[m.spec.Name] = s
	}
	return st
}

func (m *method) stats() MethodStats {
	c := &m.counters
	return MethodStats{
		Calls: c.calls.Count(), Failed: c.failed.Count(), P95: m.latency.p95(),
		Handled: c.handled.Count(), Answered: c.answered.Count(), Cancelled: c.cancelled.Count(),
		BytesIn: c.bytesIn.Count(), BytesOut: c.bytesOut.Count(),
	}
}
