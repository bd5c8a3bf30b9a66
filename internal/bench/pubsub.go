package bench

import (
	"context"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// PubSub is go-libp2p-pubsub as its documentation shows it, on one host and in
// one topic.
type PubSub struct {
	cancel context.CancelFunc
	topic  *pubsub.Topic
	dups   atomic.Int64
}

// NewPubSub starts it with its defaults but for opts. got is called with
// everything that others publish, from one goroutine.
func NewPubSub(h host.Host, topic string, got func(data []byte), opts ...pubsub.Option) (*PubSub, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &PubSub{cancel: cancel}
	ps, err := pubsub.NewGossipSub(ctx, h, append(opts, pubsub.WithRawTracer(duplicates{n: &p.dups}))...)
	if err != nil {
		cancel()
		return nil, err
	}
	if p.topic, err = ps.Join(topic); err != nil {
		cancel()
		return nil, err
	}
	// A buffer that holds the whole test: the default one of 32 loses messages.
	sub, err := p.topic.Subscribe(pubsub.WithBufferSize(1 << 14))
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if m.ReceivedFrom != h.ID() {
				got(m.Data)
			}
		}
	}()
	return p, nil
}

// Publish sends data to the topic.
func (p *PubSub) Publish(ctx context.Context, data []byte) error { return p.topic.Publish(ctx, data) }

// Duplicates is how many copies came of messages that were known.
func (p *PubSub) Duplicates() int64 { return p.dups.Load() }

// Close ends it; the host stays open.
func (p *PubSub) Close() { p.cancel() }

// duplicates counts them, and nothing else.
type duplicates struct{ n *atomic.Int64 }

func (d duplicates) DuplicateMessage(*pubsub.Message)                   { d.n.Add(1) }
func (duplicates) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (duplicates) OnClosedOutboundStream(peer.ID)                       {}
func (duplicates) Join(string)                                          {}
func (duplicates) Leave(string)                                         {}
func (duplicates) Graft(peer.ID, string)                                {}
func (duplicates) Prune(peer.ID, string)                                {}
func (duplicates) ValidateMessage(*pubsub.Message)                      {}
func (duplicates) DeliverMessage(*pubsub.Message)                       {}
func (duplicates) RejectMessage(*pubsub.Message, string)                {}
func (duplicates) ThrottlePeer(peer.ID)                                 {}
func (duplicates) RecvRPC(*pubsub.RPC)                                  {}
func (duplicates) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (duplicates) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (duplicates) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (duplicates) UndeliverableMessage(*pubsub.Message)                 {}
