package netservice

import (
	"bytes"
	"context"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/session"
)

// SendOption changes how one message is sent.
type SendOption func(*session.SendOptions)

// AtPriority sends the message in another class than its type's. Messages of
// one type keep their order only within a class.
func AtPriority(p Priority) SendOption {
	return func(o *session.SendOptions) { o.Priority = p }
}

func sendOptions(opts []SendOption) session.SendOptions {
	if len(opts) == 0 {
		return session.SendOptions{} // what options change has to be allocated
	}
	o := new(session.SendOptions)
	for _, opt := range opts {
		opt(o)
	}
	return *o
}

// shared is for payloads that nobody changes any more: all queues refer to one
// copy.
func shared(opts []SendOption) session.SendOptions {
	o := sendOptions(opts)
	o.Shared = true
	return o
}

// SendMessageToPeer queues a message to one peer, given by the text of its ID
// as in Message.MessageFrom. It waits for room in the queue until ctx ends.
// nil means that the message is queued to a live peer; the data is copied.
// Errors: ErrUnknownPeer, ErrTooLarge, ErrUnsupported, the error of ctx,
// ErrNotStarted, ErrStopped.
func (s *NebService) SendMessageToPeer(ctx context.Context, msgType string, data []byte, peerID string, opts ...SendOption) error {
	if err := s.running(); err != nil {
		return err
	}
	return s.node.send(ctx, s.node.links.named(peerID), msgType, data, sendOptions(opts))
}

// SendMessageToPeers queues a message to every peer that the filter chooses
// among those with a session, and returns the IDs of those for which it was
// queued. It never waits: a peer with a full queue misses the message, which
// is counted. It returns ErrNoPeers when it was queued for nobody.
func (s *NebService) SendMessageToPeers(ctx context.Context, msgType string, data []byte, filter PeerFilter, opts ...SendOption) ([]string, error) {
	if err := s.running(); err != nil {
		return nil, err
	}
	return s.node.sendToMany(msgType, bytes.Clone(data), filter, shared(opts))
}

// Broadcast spreads a message of this node's own through the network. nil
// means that it was queued for at least one peer; ErrNoPeers that there was
// none. It never waits for a slow peer.
func (s *NebService) Broadcast(ctx context.Context, msgType string, data []byte, opts ...SendOption) error {
	if err := s.running(); err != nil {
		return err
	}
	return s.node.broadcast(msgType, bytes.Clone(data), shared(opts))
}

// Relay passes a received message on to the network, never back to the peer
// it came from nor to a peer known to have it. nil when every other peer has
// it already; ErrNoPeers when there is no other peer.
func (s *NebService) Relay(ctx context.Context, msg dispatcher.Message, opts ...SendOption) error {
	if err := s.running(); err != nil {
		return err
	}
	return s.node.relay(msg, shared(opts))
}

// ClosePeer ends the session with a peer and tells it the reason. A persistent
// peer (Bootstrap, Reserved) is dialled again after its back-off.
func (s *NebService) ClosePeer(peerID string, reason DisconnectReason) error {
	if err := s.running(); err != nil {
		return err
	}
	k := s.node.links.named(peerID)
	if k == nil {
		return ErrUnknownPeer
	}
	k.session.Close(reason)
	return nil
}
