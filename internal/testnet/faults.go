package testnet

import "net/netip"

// SetLink makes link the description of every path from now on. It is asked when
// a connection is dialled, and for each open connection at every later change of
// the net, and not at each segment: it must be a pure function, safe for
// concurrent use. Nil is a link without latency. A node's connections to itself
// have no latency and ask no one.
func (n *Net) SetLink(link func(from, to netip.Addr) Link) {
	n.change(func(r *rules) { r.link = link })
}

// Partition splits the net: nodes of different groups do not reach each other,
// and the nodes that no group names form a group by themselves. It replaces an
// earlier Partition.
func (n *Net) Partition(groups ...[]netip.Addr) {
	m := make(map[netip.Addr]int)
	for i, g := range groups {
		for _, a := range g {
			m[a.Unmap()] = i + 1
		}
	}
	n.change(func(r *rules) { r.groups = m })
}

// PartitionFunc black-holes what goes from a node to another for which blocked
// is true. It replaces an earlier PartitionFunc; nil removes it. The function
// is called when SetLink's is, and must be pure like that.
func (n *Net) PartitionFunc(blocked func(from, to netip.Addr) bool) {
	n.change(func(r *rules) { r.split = blocked })
}

// Cut black-holes what goes from one node to another; the way back stays open.
// Acknowledgments go with the data, so a connection whose one direction is cut
// still carries up to one window in the other.
func (n *Net) Cut(from, to netip.Addr) {
	n.change(func(r *rules) {
		if r.cuts == nil {
			r.cuts = make(map[[2]netip.Addr]bool)
		}
		r.cuts[[2]netip.Addr{from.Unmap(), to.Unmap()}] = true
	})
}

// Uncut takes one Cut back.
func (n *Net) Uncut(from, to netip.Addr) {
	n.change(func(r *rules) { delete(r.cuts, [2]netip.Addr{from.Unmap(), to.Unmap()}) })
}

// Isolate pulls the cable of a node: nothing reaches or leaves it, though it
// runs on.
func (n *Net) Isolate(node netip.Addr) {
	n.change(func(r *rules) {
		if r.isolated == nil {
			r.isolated = make(map[netip.Addr]bool)
		}
		r.isolated[node.Unmap()] = true
	})
}

// Heal ends all partitions, cuts and isolations. What they black-holed is delivered at
// the next retransmission: after a fault of length d, no later than d or the
// bound of WithMaxRTO after the heal, whichever is shorter, plus the latency.
// Crashed nodes stay down.
func (n *Net) Heal() {
	n.change(func(r *rules) {
		r.split, r.groups, r.cuts, r.isolated = nil, nil, nil, nil
	})
}

// StopReading makes a node's connections, new ones too, stop taking what has
// arrived, as a process does that hangs or is stopped by a signal: its system
// goes on acknowledging until the window is full, and then whoever writes to it
// waits. What it writes passes. Heal does not end it; ResumeReading does.
func (n *Net) StopReading(node netip.Addr) {
	n.change(func(r *rules) {
		if r.stopped == nil {
			r.stopped = make(map[netip.Addr]bool)
		}
		r.stopped[node.Unmap()] = true
	})
}

// ResumeReading ends StopReading.
func (n *Net) ResumeReading(node netip.Addr) {
	n.change(func(r *rules) { delete(r.stopped, node.Unmap()) })
}

// Reset ends every connection between a and b, as a middlebox does: both ends
// have the reset at once, whatever lies between them.
func (n *Net) Reset(a, b netip.Addr) {
	a, b = a.Unmap(), b.Unmap()
	n.resetWhere(func(x, y netip.Addr) bool { return x == a && y == b || x == b && y == a })
}

// ResetAll ends every connection of a node in the same way.
func (n *Net) ResetAll(node netip.Addr) {
	node = node.Unmap()
	n.resetWhere(func(x, y netip.Addr) bool { return x == node || y == node })
}

func (n *Net) resetWhere(match func(x, y netip.Addr) bool) {
	n.mu.Lock()
	flows := n.flowsLocked()
	n.mu.Unlock()
	for _, f := range flows {
		if match(f.ends[0].addr.Addr(), f.ends[1].addr.Addr()) {
			f.resetBoth()
		}
	}
}
