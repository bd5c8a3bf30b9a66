package netservice

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/session"
)

// batches recycles the slices in which received messages go to the dispatcher.
var batches = sync.Pool{New: func() any { return new([]dispatcher.Message) }}

// deliver hands a batch that a peer sent to the dispatcher. It blocks while a
// lossless subscriber of the type is full, and the peer's stream with it.
func (n *Node) deliver(ctx context.Context, from *session.Session, msgType string, payloads [][]byte) error {
	batch := batches.Get().(*[]dispatcher.Message)
	*batch = dispatcher.AppendMessages((*batch)[:0], msgType, from.Name(), payloads)
	if t := n.tracer.Load(); t != nil {
		for _, data := range payloads {
			t.ofMessage(msgType, data, TraceStep{What: TraceReceived, Peer: from.Peer(), Detail: traceDirect})
		}
	}
	*batch = n.judgeDirect(ctx, from.Peer(), msgType, *batch)
	_, err := n.dispatch.PutMessages(ctx, *batch)
	clear(*batch)
	batches.Put(batch)
	if errors.Is(err, dispatcher.ErrQueueFull) {
		return nil // dropped and counted there; the peer is not to blame
	}
	return err
}

// unknownPeer is ErrUnknownPeer for a peer as the program named it.
func unknownPeer(name string) error { return fmt.Errorf("%w: %.100q", ErrUnknownPeer, name) }

// send queues a message of a known type to one peer, and waits for room until ctx
// ends.
func (n *Node) send(ctx context.Context, k *sessionPeer, msgType string, data []byte, o session.SendOptions) error {
	err := sessionError(k.id, k.session.Send(ctx, msgType, data, o))
	if t := n.tracer.Load(); t != nil {
		t.sent(k.id, msgType, data, err)
	}
	return err
}

// sessionError gives errors of the session engine the names of this package. A
// session that has ended is no longer one with the peer; only the end of all of
// them is the service's own.
func sessionError(p peer.ID, err error) error {
	if err == nil {
		return nil
	}
	closed, ok := errors.AsType[*session.ClosedError](err)
	switch {
	case errors.Is(err, session.ErrClosed):
		return ErrStopped
	case !ok:
		return err
	case closed.Reason == handshake.ReasonShuttingDown && !closed.ByRemote:
		return ErrStopped
	}
	return fmt.Errorf("%w any more: %s: %w", ErrUnknownPeer, p, DisconnectReason(closed.Reason))
}

// sendToMany queues a message to the peers that the filter chooses, waiting
// for nobody. It is compressed once; nobody may change data any more.
func (n *Node) sendToMany(msgType string, data []byte, filter PeerFilter, o session.SendOptions) ([]string, error) {
	if _, err := n.types.use(msgType); err != nil {
		return nil, err
	}
	if filter == nil {
		filter = AllPeers()
	}
	m, err := n.engine.Prepare(msgType, data)
	if err != nil {
		return nil, err
	}
	var sent []string
	var tally tally
	t := n.tracer.Load()
	for _, p := range filter(n.peerInfos()) {
		k := n.peerSet.get(p.ID)
		if k == nil {
			continue
		}
		err := k.session.TrySendPrepared(m, o.Priority)
		if tally.add(err) {
			sent = append(sent, k.name)
		}
		if t != nil {
			t.sent(k.id, msgType, data, err)
		}
	}
	return sent, tally.outcome(msgType)
}

// tally sums up what became of one message that went to several peers.
type tally struct{ queued, full, unsupported int }

// add counts the outcome for one peer and tells whether it was queued.
func (t *tally) add(err error) bool {
	switch {
	case err == nil:
		t.queued++
		return true
	case errors.Is(err, ErrQueueFull):
		t.full++
	case errors.Is(err, ErrUnsupported):
		t.unsupported++
	}
	return false
}

// outcome is nil when the message was queued for somebody, and else the most
// telling reason why not.
func (t *tally) outcome(msgType string) error {
	switch {
	case t.queued > 0:
		return nil
	case t.full > 0:
		return fmt.Errorf("%w: type %s, for each of %d peers (MessageSpec.QueueBytes, Config.PeerQueueBytes)", ErrQueueFull, msgType, t.full)
	case t.unsupported > 0:
		return fmt.Errorf("%w: %s, none of %d peers does", ErrUnsupported, msgType, t.unsupported)
	}
	return fmt.Errorf("%w to send %s to", ErrNoPeers, msgType)
}

// undecodable counts a message whose payload its type's codec refuses, and
// holds it against the peer that sent it. What came by gossip another one may
// have made, and the peer only passed on: Type.Validate keeps it from going on.
func (n *Node) undecodable(m dispatcher.Message, err error) {
	n.obs.ByType(obs.Undecodable, m.MessageType()).Inc(1)
	n.obs.Log("node").WithField("peer", m.MessageFrom()).WithField("type", m.MessageType()).
		WithField("error", obs.Clean(err.Error())).Debug("message does not decode")
	if _, relayed := m.(*gossiped); relayed {
		return
	}
	if from := n.sender(m); from != "" {
		n.peers.Penalise(from, penaltyUndecodable)
	}
}

// sender is the peer that a message came from, empty for this node itself.
func (n *Node) sender(m dispatcher.Message) peer.ID {
	name := m.MessageFrom()
	if name == "" {
		return ""
	}
	if k := n.peerSet.named(name); k != nil {
		return k.id
	}
	id, _ := peer.Decode(name) // gone meanwhile; or the program's own invention
	return id
}
