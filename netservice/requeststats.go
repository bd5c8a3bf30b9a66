package netservice

import "time"

// RequestStats is what requests have done since the service was made.
type RequestStats struct {
	// Methods is by name, of those that are served or were called here.
	Methods map[string]MethodStats
	// Calls is how many calls this node has under way, Served how many of others run
	// or wait here, and ServedBytes what those hold.
	Calls, Served, ServedBytes int
}

// MethodStats are those of one method.
type MethodStats struct {
	// Calls made by this node that have ended, and those of them that failed.
	Calls, Failed int64
	// P95 is the time that 95 of 100 of the latest calls took at most, from the call
	// to the end of its answers; 0 until there were some.
	P95 time.Duration
	// Handled calls of others had a handler; Answered are those of them that it
	// answered without an error, Cancelled those given up before.
	Handled, Answered, Cancelled int64
	// Running and Waiting are calls of others, now.
	Running, Waiting int
	// BytesIn and BytesOut count answers, received and sent.
	BytesIn, BytesOut int64
}

func (n *Node) requestStats() RequestStats {
	e := n.requests.Stats()
	st := RequestStats{Methods: make(map[string]MethodStats, len(e.Methods)), Calls: e.Calls, Served: e.Served, ServedBytes: e.ServedBytes}
	for name, m := range e.Methods {
		st.Methods[name] = MethodStats(m)
	}
	return st
}
