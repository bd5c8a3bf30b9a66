package netservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/multistream"
)

// streamHandlers are the program's own protocols. They may be set before there is a
// host.
type streamHandlers struct {
	mu      sync.Mutex // guards what follows; held while handlers of the host change
	handle  map[protocol.ID]func(network.Stream)
	started bool
}

// HandleStream serves a protocol of the program's own to peers with a session, and
// to nobody else: streams of others are reset at once, and one that overtakes the
// end of its peer's handshake waits for it. handle runs in a goroutine of its own
// for each stream, which it has to close; a panic resets the stream. nil takes the
// protocol away. It may be called before Start. Stop closes the connections, and the
// streams with them, but does not wait for handle.
func (s *NebService) HandleStream(id protocol.ID, handle func(network.Stream)) {
	n := s.node
	h := &n.streams
	h.mu.Lock()
	defer h.mu.Unlock()
	if handle == nil {
		delete(h.handle, id)
		if h.started {
			n.host.RemoveStreamHandler(id)
		}
		return
	}
	if h.handle == nil {
		h.handle = make(map[protocol.ID]func(network.Stream))
	}
	h.handle[id] = handle
	if h.started {
		n.host.SetStreamHandler(id, n.forPeers(handle))
	}
}

// startStreams puts the program's protocols on the host, and every change from then
// on; stopStreams takes them off.
func (n *Node) startStreams() {
	n.streams.mu.Lock()
	defer n.streams.mu.Unlock()
	n.streams.started = true
	for id, handle := range n.streams.handle {
		n.host.SetStreamHandler(id, n.forPeers(handle))
	}
}

func (n *Node) stopStreams() {
	n.streams.mu.Lock()
	defer n.streams.mu.Unlock()
	if !n.streams.started {
		return
	}
	n.streams.started = false
	for id := range n.streams.handle {
		n.host.RemoveStreamHandler(id)
	}
}

// forPeers is a stream handler that serves peers with a session only.
func (n *Node) forPeers(handle func(network.Stream)) network.StreamHandler {
	return func(st network.Stream) {
		if !n.peerSet.member(st.Conn().RemotePeer()) {
			st.ResetWithError(network.StreamGated)
			return
		}
		defer func() {
			if v := recover(); v != nil {
				st.Reset()
				n.panicked("stream", v, nil)
			}
		}()
		handle(st)
	}
}

// NewStream opens a stream of a protocol of the program's own to a peer with a
// session, on the session's connection. The stream ends with the connection.
// Errors: ErrUnknownPeer, ErrUnsupported when the peer does not serve the protocol,
// that of ctx, ErrNotStarted, ErrStopped, those of libp2p.
func (s *NebService) NewStream(ctx context.Context, to peer.ID, id protocol.ID) (network.Stream, error) {
	if err := s.running(); err != nil {
		return nil, err
	}
	k := s.node.peerSet.get(to)
	if k == nil {
		return nil, fmt.Errorf("open a stream of %s to %s: %w", id, to, ErrUnknownPeer)
	}
	st, err := openOn(ctx, k.conn, []protocol.ID{id})
	if err == nil {
		err = st.SetDeadline(time.Time{})
	}
	if multistream.NotSupported(err) {
		err = also(errors.New("the peer does not serve the protocol"), ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("open a stream of %s to %s: %w", id, to, err)
	}
	return st, nil
}
