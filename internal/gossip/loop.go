package gossip

import (
	"context"
	"iter"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The router belongs to one loop. Publishing a batch with a scheduler of one's
// own is the way in: the loop calls the scheduler, first with the frames it made
// of the batch, then for the order to send them in. So the engine learns who was
// handed what, and, with an empty batch, gets the loop to call a function.

// sending is a message being handed out by the loop.
type sending struct {
	msg    *pb.Message
	handed int // peers whose queue took it
	full   int // peers whose queue did not, though there is a stream to them
}

// handOut is a scheduler for one message. It is done when the loop has offered
// the message to every peer it chose.
type handOut struct {
	l     *lane
	s     sending
	peers []peer.ID
	rpc   *pubsub.RPC
	done  chan struct{}
}

func (h *handOut) AddRPC(p peer.ID, _ string, rpc *pubsub.RPC) {
	h.peers = append(h.peers, p)
	h.rpc = rpc
}

func (h *handOut) All() iter.Seq2[peer.ID, *pubsub.RPC] {
	return func(yield func(peer.ID, *pubsub.RPC) bool) {
		h.l.sending = &h.s
		defer close(h.done)
		defer func() { h.l.sending = nil }()
		for _, p := range h.peers {
			if !yield(p, h.rpc) {
				return
			}
		}
	}
}

// thunk is a scheduler that has the loop call a function.
type thunk struct {
	f    func()
	done chan struct{}
}

func (t *thunk) AddRPC(peer.ID, string, *pubsub.RPC) {}

func (t *thunk) All() iter.Seq2[peer.ID, *pubsub.RPC] {
	return func(func(peer.ID, *pubsub.RPC) bool) {
		defer close(t.done)
		t.f()
	}
}

func scheduled(s pubsub.RPCScheduler) pubsub.BatchPubOpt {
	return func(o *pubsub.BatchPublishOptions) error {
		o.Strategy = s
		return nil
	}
}

// do has the loop call f, and waits. f is not called if there is an error.
func (l *lane) do(ctx context.Context, f func()) error {
	t := &thunk{f: f, done: make(chan struct{})}
	return l.schedule(ctx, new(pubsub.MessageBatch), t, t.done)
}

// send has the loop publish a batch of one message, and waits until it was
// offered to all peers.
func (l *lane) send(ctx context.Context, b *pubsub.MessageBatch, m *pb.Message) (sending, error) {
	h := &handOut{l: l, s: sending{msg: m}, done: make(chan struct{})}
	if err := l.schedule(ctx, b, h, h.done); err != nil {
		return sending{}, err
	}
	return h.s, nil
}

// forward has the loop send a message on that the router has seen and not sent.
func (l *lane) forward(ctx context.Context, t *topic, m *pubsub.Message) (sending, error) {
	t.said(m.ID)
	s := &sending{msg: m.Message}
	err := l.do(ctx, func() {
		l.sending = s
		defer func() { l.sending = nil }()
		l.rt.Publish(m)
	})
	if err != nil {
		return sending{}, err
	}
	return *s, nil
}

// schedule passes a batch to the loop and waits until the scheduler is done.
// One batch is under way at a time: the router's way in has one place, and
// nobody to wait there once the loop has ended. ctx bounds the wait for one's
// turn; what the loop has been given is waited for. Errors: that of ctx, and
// ErrClosed.
func (l *lane) schedule(ctx context.Context, b *pubsub.MessageBatch, s pubsub.RPCScheduler, done <-chan struct{}) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return ErrClosed
	}
	if l.ctx.Err() != nil || l.ps.PublishBatch(b, scheduled(s)) != nil {
		return ErrClosed
	}
	select {
	case <-done: // the loop
		return nil
	case <-l.ctx.Done():
		return ErrClosed
	}
}
