package testnet

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bandwidth of a node's access line, in bits per second; 0 is no limit.
type Bandwidth struct {
	Up, Down int64
}

// Stats counts what a node did since it first appeared; a restart does not
// clear it.
type Stats struct {
	Sent     uint64 // bytes its connections accepted from Write
	Received uint64 // bytes its connections gave to Read
	Dials    uint64 // connections dialled, successfully
	Accepts  uint64 // connections that reached one of its listeners
	Resets   uint64 // connections of its own that a reset ended
	Conns    int    // connections open now
}

// node is a machine with one address.
type node struct {
	addr netip.Addr

	// epoch counts crashes and kills. A transport or dial of an older epoch
	// belongs to a dead process.
	epoch atomic.Uint64
	// down is true from a crash to the restart. Written under Net.mu.
	down atomic.Bool

	sent, received, dials, accepts, resets atomic.Uint64
	conns                                  atomic.Int64

	mu       sync.Mutex // guards the fields below
	up       ledger
	downlink ledger
	port     uint16
}

func newNode(addr netip.Addr, b Bandwidth) *node {
	return &node{addr: addr, up: ledger{rate: b.Up}, downlink: ledger{rate: b.Down}, port: firstEphemeralPort}
}

const firstEphemeralPort = 32768

// ephemeralPort returns the next port for an outgoing connection or a listener
// on port 0. taken says which ports are in use.
func (nd *node) ephemeralPort(taken func(uint16) bool) uint16 {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	for range 1 << 15 {
		p := nd.port
		if nd.port++; nd.port == 0 {
			nd.port = firstEphemeralPort
		}
		if !taken(p) {
			return p
		}
	}
	return nd.port
}

// reserveUp returns when size bytes that are ready at t have left the node.
func (nd *node) reserveUp(t time.Time, size int) time.Time {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.up.reserve(t, size)
}

// reserveDown returns when size bytes that reach the node's line at t have come
// in.
func (nd *node) reserveDown(t time.Time, size int) time.Time {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.downlink.reserve(t, size)
}

// SetBandwidth sets the bandwidth of the node at addr from now on.
func (n *Net) SetBandwidth(addr netip.Addr, b Bandwidth) {
	nd := n.node(addr)
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.up = ledger{rate: b.Up}
	nd.downlink = ledger{rate: b.Down}
}

// Stats returns what the node at addr has carried.
func (n *Net) Stats(addr netip.Addr) Stats {
	n.mu.Lock()
	nd := n.nodes[addr.Unmap()]
	n.mu.Unlock()
	if nd == nil {
		return Stats{}
	}
	return nd.stats()
}

func (nd *node) stats() Stats {
	return Stats{
		Sent:     nd.sent.Load(),
		Received: nd.received.Load(),
		Dials:    nd.dials.Load(),
		Accepts:  nd.accepts.Load(),
		Resets:   nd.resets.Load(),
		Conns:    int(nd.conns.Load()),
	}
}

// TotalStats adds up the Stats of all nodes.
func (n *Net) TotalStats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	var sum Stats
	for _, nd := range n.nodes {
		s := nd.stats()
		sum.Sent += s.Sent
		sum.Received += s.Received
		sum.Dials += s.Dials
		sum.Accepts += s.Accepts
		sum.Resets += s.Resets
		sum.Conns += s.Conns
	}
	return sum
}
