package netservice

import (
	"context"
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

var (
	errOfHost = errors.New("the host is asked")
	errOfConn = errors.New("the connection is asked")
)

type refusingHost struct{ host.Host }

func (refusingHost) NewStream(context.Context, peer.ID, ...protocol.ID) (network.Stream, error) {
	return nil, errOfHost
}

type refusingConn struct{ network.Conn }

func (refusingConn) NewStream(context.Context) (network.Stream, error) { return nil, errOfConn }

// Streams that last are opened on the connection of the session, where there is one.
func TestStreamsAreOnTheConnectionOfTheSession(t *testing.T) {
	n := &Node{}
	n.peerSet = newPeerSet(n)
	n.peerSet.mu.Lock()
	n.peerSet.putLocked(n.peerSet.entryLocked("peer"), &sessionPeer{id: "peer", name: "peer", conn: refusingConn{}})
	n.peerSet.mu.Unlock()
	h := onSessions{refusingHost{}, n}
	for p, want := range map[peer.ID]error{"peer": errOfConn, "stranger": errOfHost} {
		if _, err := h.NewStream(t.Context(), p, "/x"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
	}
}
