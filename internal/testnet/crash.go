package testnet

import "net/netip"

// Crash is a power failure: the node's listeners and connections are gone, and
// nobody is told. The other ends see nothing until their own timers, and dials
// to the node go unanswered. What was in the air is lost.
//
// The node's own calls fail with ErrNodeDown from now on; the host on it should
// be closed as the dead process that it is. Restart brings the machine back,
// for a new host with a new transport.
func (n *Net) Crash(node netip.Addr) {
	nd, flows := n.takeDown(node, true)
	// The paths first: no reset may get out of a machine without power.
	n.change(func(r *rules) {
		if r.down == nil {
			r.down = make(map[netip.Addr]bool)
		}
		r.down[nd.addr] = true
	})
	for _, f := range flows {
		f.vanish(nd, false)
	}
}

// Kill ends the node's process as SIGKILL would: its machine stays up and
// resets all connections. Dials to it are refused until a new host listens,
// which may be at once. The dead process's own calls fail with ErrNodeDown.
func (n *Net) Kill(node netip.Addr) {
	nd, flows := n.takeDown(node, false)
	for _, f := range flows {
		f.vanish(nd, true)
	}
}

// Restart brings a crashed machine back, with the same address and nothing
// listening. Ends of connections from before the crash learn of it by a reset,
// when they next send or retransmit. On a running node it does nothing.
func (n *Net) Restart(node netip.Addr) {
	node = node.Unmap()
	n.change(func(r *rules) {
		delete(r.down, node)
		if nd := n.nodes[node]; nd != nil {
			nd.down.Store(false)
		}
	})
}

// Down reports whether the node is down after a Crash.
func (n *Net) Down(node netip.Addr) bool { return n.node(node).down.Load() }

// takeDown ends the node's epoch, so that nothing of its process attaches any
// more, takes its listeners off the net, and returns its flows.
func (n *Net) takeDown(addr netip.Addr, off bool) (*node, []*flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	nd := n.nodeLocked(addr)
	nd.epoch.Add(1)
	if off {
		nd.down.Store(true)
	}
	var flows []*flow
	for _, f := range n.flowsLocked() {
		if f.ends[0].node == nd || f.ends[1].node == nd {
			flows = append(flows, f)
		}
	}
	for at := range n.listeners {
		if at.Addr() == nd.addr {
			delete(n.listeners, at)
		}
	}
	return nd, flows
}
