package testnet

import (
	"maps"
	"net/netip"
)

// rules say what the paths between nodes are like now. A rules value is never
// changed: each change makes a new one.
type rules struct {
	gen  uint64
	link func(from, to netip.Addr) Link

	split    func(from, to netip.Addr) bool
	groups   map[netip.Addr]int // 0 is the group of all others
	cuts     map[[2]netip.Addr]bool
	isolated map[netip.Addr]bool
	down     map[netip.Addr]bool
	stopped  map[netip.Addr]bool // not reading
}

func (r *rules) clone() *rules {
	c := *r
	c.gen++
	c.groups = maps.Clone(r.groups)
	c.cuts = maps.Clone(r.cuts)
	c.isolated = maps.Clone(r.isolated)
	c.down = maps.Clone(r.down)
	c.stopped = maps.Clone(r.stopped)
	return &c
}

// path is one direction of a connection as the rules have it.
type path struct {
	link    Link
	blocked bool
	stopped bool // the node at its end does not read
}

// path calls the user's functions: no lock may be held.
func (r *rules) path(from, to netip.Addr) path {
	p := path{stopped: r.stopped[to]}
	if from == to {
		p.blocked = r.down[from]
		return p
	}
	if r.link != nil {
		p.link = r.link(from, to)
	}
	p.blocked = r.down[from] || r.down[to] ||
		r.isolated[from] || r.isolated[to] ||
		r.cuts[[2]netip.Addr{from, to}] ||
		r.groups[from] != r.groups[to] ||
		r.split != nil && r.split(from, to)
	return p
}

// paths returns both directions between a and b: from a, and from b.
func (r *rules) paths(a, b netip.Addr) [2]path {
	return [2]path{r.path(a, b), r.path(b, a)}
}

// change replaces the rules and brings every open connection up to date.
func (n *Net) change(edit func(*rules)) {
	n.mu.Lock()
	r := n.rules.Load().clone()
	edit(r)
	n.rules.Store(r)
	flows := n.flowsLocked()
	n.mu.Unlock()
	for _, f := range flows {
		f.apply(r.gen, r.paths(f.ends[0].addr.Addr(), f.ends[1].addr.Addr()))
	}
}

// attach makes f one of the net's flows, with the paths of the rules in force,
// if both processes of the given epochs still run. After it, change and Crash
// reach f.
func (n *Net) attach(f *flow, epochs [2]uint64) bool {
	for {
		r := n.rules.Load()
		paths := r.paths(f.ends[0].addr.Addr(), f.ends[1].addr.Addr())
		n.mu.Lock()
		if n.rules.Load() != r {
			n.mu.Unlock()
			continue
		}
		alive := true
		for i := range f.ends {
			alive = alive && !f.ends[i].node.down.Load() && f.ends[i].node.epoch.Load() == epochs[i]
		}
		if alive {
			n.nextFlow++
			f.id = n.nextFlow
			n.flows[f] = struct{}{}
		}
		n.mu.Unlock()
		if !alive {
			return false
		}
		f.apply(r.gen, paths)
		return true
	}
}
