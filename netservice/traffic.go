package netservice

import (
	"context"
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/session"
)

// batches recycles the slices in which received messages go to the dispatcher.
var batches = sync.Pool{New: func() any { return new([]dispatcher.Message) }}

// deliver hands a batch that a peer sent to the dispatcher. It blocks while a
// lossless subscriber of the type is full, and the peer's stream with it.
func (n *Node) deliver(ctx context.Context, from peer.ID, spec session.TypeSpec, payloads [][]byte) error {
	k := n.links.sessionSoon(ctx, from)
	if k == nil {
		return ErrUnknownPeer // the session has ended meanwhile
	}
	if t := n.types.lookup(spec.Name); t != nil && t.spread.Load() {
		for _, data := range payloads {
			n.known.mark(from, n.known.key(spec.Name, data))
		}
	}
	batch := batches.Get().(*[]dispatcher.Message)
	*batch = dispatcher.AppendMessages((*batch)[:0], spec.Name, k.name, payloads)
	_, err := n.dispatch.PutMessages(ctx, *batch)
	clear(*batch)
	batches.Put(batch)
	if errors.Is(err, dispatcher.ErrQueueFull) {
		return nil // dropped and counted there; the peer is not to blame
	}
	return err
}

// send queues a message to one peer, nil where there is none, and waits for
// room until ctx ends.
func (n *Node) send(ctx context.Context, k *link, msgType string, data []byte, o session.SendOptions) error {
	if k == nil {
		return ErrUnknownPeer
	}
	if _, err := n.types.use(msgType); err != nil {
		return err
	}
	return k.session.Send(ctx, msgType, data, o)
}

// sendToMany queues a message to the peers that the filter chooses, waiting
// for nobody.
func (n *Node) sendToMany(msgType string, data []byte, filter PeerFilter, o session.SendOptions) ([]string, error) {
	if _, err := n.types.use(msgType); err != nil {
		return nil, err
	}
	var sent []string
	var tally tally
	for _, p := range filter(n.peerInfos()) {
		k := n.links.session(p.ID)
		if k == nil {
			continue
		}
		err := k.session.TrySend(msgType, data, o)
		if errors.Is(err, ErrTooLarge) {
			return nil, err
		}
		if tally.add(err) {
			sent = append(sent, k.name)
		}
	}
	return sent, tally.verdict()
}

// broadcast queues a message of our own to every peer, also when it was sent
// before: the application may mean to say it twice.
func (n *Node) broadcast(msgType string, data []byte, o session.SendOptions) error {
	return n.spread(msgType, data, o, func(*link, bool) bool { return true })
}

// relay queues a received message to every peer that is not known to have it.
func (n *Node) relay(m dispatcher.Message, o session.SendOptions) error {
	err := n.spread(m.MessageType(), m.Data(), o, func(k *link, had bool) bool {
		return !had && k.name != m.MessageFrom()
	})
	if errors.Is(err, errAllHave) {
		return nil
	}
	return err
}

// errAllHave means that every peer but the origin has the message already.
var errAllHave = errors.New("netservice: every peer has the message")

// spread queues a message to the peers that wants chooses, given whether they
// are known to have it.
func (n *Node) spread(msgType string, data []byte, o session.SendOptions, wants func(k *link, had bool) bool) error {
	t, err := n.types.use(msgType)
	if err != nil {
		return err
	}
	t.spread.Store(true)
	key := n.known.key(msgType, data)
	var tally tally
	for _, k := range n.links.all() {
		if !wants(k, n.known.mark(k.id, key)) {
			tally.had++
			continue
		}
		err := k.session.TrySend(msgType, data, o)
		if err != nil {
			n.known.unmark(k.id, key)
		}
		if errors.Is(err, ErrTooLarge) {
			return err
		}
		tally.add(err)
	}
	if tally.had > 1 && tally.tried() == 0 {
		return errAllHave
	}
	return tally.verdict()
}

// tally sums up what became of one message that went to several peers.
type tally struct {
	queued, full, unsupported, gone int
	had                             int // needed no copy
}

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
	default:
		t.gone++
	}
	return false
}

func (t *tally) tried() int { return t.queued + t.full + t.unsupported + t.gone }

// verdict is nil when the message was queued for somebody, and else the most
// telling reason why not.
func (t *tally) verdict() error {
	switch {
	case t.queued > 0:
		return nil
	case t.full > 0:
		return ErrQueueFull
	case t.unsupported > 0:
		return ErrUnsupported
	}
	return ErrNoPeers
}

// undecodable counts a message whose payload its type's codec refuses, and
// holds it against the peer that sent it.
func (n *Node) undecodable(m dispatcher.Message, err error) {
	n.obs.ByType(obs.Undecodable, m.MessageType()).Inc(1)
	n.obs.Log("node").WithField("peer", m.MessageFrom()).WithField("type", m.MessageType()).
		WithField("error", obs.Clean(err.Error())).Debug("message does not decode")
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
	if k := n.links.named(name); k != nil {
		return k.id
	}
	id, _ := peer.Decode(name) // gone meanwhile; or the program's own invention
	return id
}
