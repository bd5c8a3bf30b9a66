package netservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/session"
)

// SendOption changes how one message is sent.
type SendOption func(*sendSettings)

type sendSettings struct{ priority Priority }

// AtPriority sends the message in another class than its type's. Messages of
// one type keep their order only within a class.
func AtPriority(p Priority) SendOption { return func(o *sendSettings) { o.priority = p } }

func sendOptions(opts []SendOption) session.SendOptions {
	if len(opts) == 0 {
		return session.SendOptions{} // what options change has to be allocated
	}
	o := new(sendSettings)
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return session.SendOptions{Priority: msgtype.Priority(o.priority)}
}

// SendMessageToPeer queues a message to one peer, given by the text of its ID
// as in Message.MessageFrom. It waits for room in the queue until ctx ends.
// nil means that the message is queued to a live peer; the data is copied.
// Errors: ErrUnknownPeer, also when the session ends meanwhile; ErrTooLarge;
// ErrUnsupported; ErrQueueFull joined with the error of ctx; with the first use of a
// type, ErrTooManyTypes or that its name is no good; ErrNotStarted; ErrStopped.
func (s *NebService) SendMessageToPeer(ctx context.Context, msgType string, data []byte, peerID string, opts ...SendOption) error {
	if err := s.running(); err != nil {
		return err
	}
	if _, err := s.node.types.use(msgType); err != nil {
		return err
	}
	k := s.node.peerSet.named(peerID)
	if k == nil {
		return unknownPeer(peerID)
	}
	return s.node.send(ctx, k, msgType, data, sendOptions(opts))
}

// SendMessageToPeers queues a message to every peer that the filter chooses
// among those with a session, nil being AllPeers, and returns the IDs of those
// for which it was queued. It never waits: a peer with a full queue misses the
// message, which is counted. When it was queued for nobody, the error tells why:
// ErrQueueFull, ErrUnsupported or ErrNoPeers. Further errors: ErrTooLarge, the
// error of ctx if it has ended before, those of the first use of a type as in
// SendMessageToPeer, ErrNotStarted, ErrStopped.
func (s *NebService) SendMessageToPeers(ctx context.Context, msgType string, data []byte, filter PeerFilter, opts ...SendOption) ([]string, error) {
	return s.sendToMany(ctx, msgType, bytes.Clone(data), filter, opts)
}

// sendToMany is SendMessageToPeers for data that nobody changes any more.
func (s *NebService) sendToMany(ctx context.Context, msgType string, data []byte, filter PeerFilter, opts []SendOption) ([]string, error) {
	if err := s.running(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("send %s: %w", msgType, err)
	}
	return s.node.sendToMany(msgType, data, filter, sendOptions(opts))
}

// Broadcast spreads a message of this node's own through the network by
// gossip; the type need not be subscribed to here. While the queue of a peer that is
// to have it is full it waits, at most until ctx ends: peers read no faster than they
// can pass on, so a network that is given too much slows down its authors. A peer that
// is several times as slow as others is waited for 10 s at most, and a tenth of the
// time; what it loses is counted in GossipTypeStats.Dropped. nil means that the queues
// of the peers took the message or, right after the start, that it waits for the first
// peer that takes part, see GossipSpec.PeerWait. Errors: ErrTooLarge (see
// MessageSpec.MaxSize), ErrNoPeers, ErrQueueFull joined with the error of ctx,
// ErrDuplicate, ErrNoBroadcast, those of the first use of a type as in
// SendMessageToPeer, ErrNotStarted, ErrStopped.
//
// What is above 256 KiB goes in chunks, see MessageSpec.MaxSize: nil then means that the
// peers are told of it, and fetch it from here and from each other. Further errors for
// it: ErrHeader, what Headers.Make returns, and ErrQueueFull where own messages of
// 64 MiB or more are still being fetched. What it means to a peer that it is too large
// for:
//
//	the peer                             others take it         no other peer does
//	has declared a smaller MaxSize       it is not told         it waits for one that takes it,
//	                                                            then GossipTypeStats.Unsent;
//	                                                            with a negative PeerWait, or no
//	                                                            room to wait: ErrTooLarge
//	takes no chunks, 1 MiB or less       it gets it whole by GossipSub
//	takes no chunks, more than 1 MiB     GossipTypeStats.Dropped    ErrTooLarge, and Dropped
//
// In a network without signatures, which is the default, a message is named by
// its type and content: the same content again, within two minutes, is
// ErrDuplicate. Content that may repeat needs something to tell it apart.
func (s *NebService) Broadcast(ctx context.Context, msgType string, data []byte) error {
	if err := s.running(); err != nil {
		return err
	}
	return s.node.broadcast(ctx, msgType, bytes.Clone(data))
}

// Relay passes a received message on to the network. It is needed for types
// declared with GossipSpec.ExplicitRelay, and for messages that came from one
// peer alone; gossip passes the others on by itself, and for them Relay does
// nothing. A message goes neither back to where it came from nor to a peer
// known to have it. nil also when the network has it already. Errors are those
// of Broadcast, ErrRejected, and dispatcher.ErrNilMessage.
func (s *NebService) Relay(ctx context.Context, msg dispatcher.Message) error {
	if m, basic := msg.(*dispatcher.BasicMessage); msg == nil || basic && m == nil {
		return dispatcher.ErrNilMessage
	}
	if err := s.running(); err != nil {
		return err
	}
	return s.node.relay(ctx, msg)
}

// SetValidator has messages of a type judged by v before they are delivered and
// passed on, whichever way they come: by gossip, or directly from a peer, in whose
// stream v then runs. Of those sent directly, what is not accepted is dropped, also
// when v defers it, and counted; rejecting it counts against the sender. Own
// broadcasts are not judged, and Relay judges what gossip has not. It may be set and
// replaced at any time: no message passes unjudged meanwhile. nil takes the
// validator away. Errors: ErrNoBroadcast, or that the type's name is no good.
func (s *NebService) SetValidator(msgType string, v Validator) error {
	return s.node.types.validate(msgType, s.node.timed(msgType, v))
}

// Resume has all messages judged again that a validator deferred under that
// key, and returns how many there were.
func (s *NebService) Resume(key string) int {
	if s.running() != nil {
		return 0
	}
	s.node.swarm.Resume(key)
	return s.node.gossip.Resume(key)
}

// ClosePeer ends the session with a peer and tells it the reason, a DisconnectReason,
// and the text of a *Refusal. nil and ReasonNone stand for ReasonRequested; any other
// error is told as ReasonApplication, without its text. A persistent peer (Bootstrap,
// Reserved) is dialled again after its back-off. Errors: ErrUnknownPeer,
// ErrNotStarted, ErrStopped.
func (s *NebService) ClosePeer(peerID string, reason error) error {
	if err := s.running(); err != nil {
		return err
	}
	k := s.node.peerSet.named(peerID)
	if k == nil {
		return unknownPeer(peerID)
	}
	r, text := closing(reason)
	k.session.CloseWith(handshake.Reason(r), text)
	return nil
}

// closing is what a peer is told for the reason of the program.
func closing(why error) (DisconnectReason, string) {
	if r, ok := errors.AsType[*Refusal](why); ok {
		return r.reason(), r.Text
	}
	r, ok := errors.AsType[DisconnectReason](why)
	switch {
	case why == nil || ok && r == ReasonNone: // on the wire it would be a violation
		return ReasonRequested, ""
	case !ok:
		return ReasonApplication, ""
	}
	return r, ""
}
