package netservice

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// onSessions is the host for protocols whose streams last. It opens those to a
// session peer on the connection of its session. libp2p takes the connection with
// the most streams: the second one of a simultaneous dial could become that, and
// would then never be seen idle and closed.
type onSessions struct {
	host.Host
	n *Node
}

// NewStream implements host.Host.
func (h onSessions) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	k := h.n.peerSet.get(p)
	if k == nil {
		return h.Host.NewStream(ctx, p, ids...)
	}
	st, err := openOn(ctx, k.conn, ids)
	if err != nil {
		return nil, err
	}
	return st, st.SetDeadline(time.Time{}) // that of ctx was for opening it
}
