package p2p

import (
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// streamMemory is what libp2p reserves for a stream at first, and what it may
// grow to in the usual case.
const streamMemory = 512 << 10

// ResourceLimits returns limits for a libp2p resource manager under which a
// peer may have that many streams each way, for hosts that are made without
// this library; go-libp2p's own stop at about 75 of one protocol:
//
//	limits := p2p.ResourceLimits(1000).Build(rcmgr.DefaultLimits.AutoScale())
//	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits))
//	h, err := libp2p.New(libp2p.ResourceManager(rm))
//
// What it leaves open is filled in by Build. Values below 64 are taken as 64.
func ResourceLimits(streamsPerPeer int) rcmgr.PartialLimitConfig {
	n := max(streamsPerPeer, 64) + 64 // libp2p's own protocols take a few
	limits := func(n int) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{
			StreamsInbound: rcmgr.LimitVal(n), StreamsOutbound: rcmgr.LimitVal(n), Streams: rcmgr.LimitVal(2 * n),
			Memory: rcmgr.LimitVal64(n) * streamMemory,
		}
	}
	all := limits(8 * n)
	return rcmgr.PartialLimitConfig{
		System: all, Transient: limits(n), ProtocolDefault: all,
		PeerDefault: limits(n), ProtocolPeerDefault: limits(n),
	}
}
