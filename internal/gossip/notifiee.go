package gossip

import (
	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// notifiee wakes those who wait for a peer that has gone.
type notifiee struct{ ms *members }

var _ network.Notifiee = notifiee{}

func (n notifiee) Disconnected(_ network.Network, c network.Conn) { n.ms.wake(c.RemotePeer()) }
func (n notifiee) Connected(network.Network, network.Conn)        {}
func (n notifiee) Listen(network.Network, ma.Multiaddr)           {}
func (n notifiee) ListenClose(network.Network, ma.Multiaddr)      {}
