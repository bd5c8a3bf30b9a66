package netservice

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/pacing"
)

// paceTunnel has the bytes of a tunnel give way to messages.
func (n *Node) paceTunnel(s network.Stream, urgent bool) network.Stream {
	class := pacing.Low
	if urgent {
		class = pacing.Normal
	}
	return n.budgets.Stream(s, class)
}

// gossipStall is how long a peer may take nothing of a broadcast before its stream
// is reset. A peer whose own peers take no more reads slowly, and its multiplexer tells
// so only after half a window, which may be megabytes.
const gossipStall = 2 * time.Minute

// paceGossip has broadcasts share a connection with messages.
func (n *Node) paceGossip(s network.Stream) network.Stream {
	return n.budgets.Stream(s, pacing.Normal).Patient(gossipStall)
}
