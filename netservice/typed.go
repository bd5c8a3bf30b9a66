package netservice

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Type is a message type of the application, declared once with Declare and
// usable with any service. Its methods are safe for concurrent use.
type Type[T any] struct {
	spec  MessageSpec
	codec Codec[T]
	subs  []dispatcher.SubscriberOption

	// with is the service that this was last declared with, a weak.Pointer[NebService],
	// to do so once and not for every message. A strong one would keep a service that
	// was stopped in memory for as long as the program runs.
	with atomic.Value
}

// TypeOption changes a declaration.
type TypeOption func(*typeOptions)

type typeOptions struct {
	spec MessageSpec
	subs []dispatcher.SubscriberOption
}

// MaxSize bounds a message of the type, in bytes of encoded payload.
// Default: Config.MaxMessageSize.
func MaxSize(bytes int) TypeOption { return func(o *typeOptions) { o.spec.MaxSize = bytes } }

// WithPriority sets the type's priority. Default: PriorityNormal.
func WithPriority(p Priority) TypeOption { return func(o *typeOptions) { o.spec.Priority = p } }

// WithCompression sets how frames of the type are compressed.
// Default: CompressS2.
func WithCompression(c Compression) TypeOption {
	return func(o *typeOptions) { o.spec.Compression = c }
}

// WithoutBroadcast keeps the type out of gossip, see MessageSpec.NoBroadcast.
func WithoutBroadcast() TypeOption { return func(o *typeOptions) { o.spec.NoBroadcast = true } }

// WithoutDirect keeps peers from sending the type to this node directly, see
// MessageSpec.NoDirect.
func WithoutDirect() TypeOption { return func(o *typeOptions) { o.spec.NoDirect = true } }

// WithGossip sets how messages of the type are broadcast.
func WithGossip(g GossipSpec) TypeOption { return func(o *typeOptions) { o.spec.Gossip = g } }

// WithSubscription sets what every subscription of the type starts from: its
// policy, queue and duplicate filter, see package dispatcher.
func WithSubscription(opts ...dispatcher.SubscriberOption) TypeOption {
	return func(o *typeOptions) { o.subs = append(o.subs, opts...) }
}

// Declare declares a message type: its name on the wire (1 to 64 bytes of
// letters, digits, dot, dash and underscore), how its values are encoded, and
// its properties. A mistake in them, or a nil codec, is reported by the first
// use, as a *ConfigError or dispatcher.ErrInvalidType.
func Declare[T any](name string, codec Codec[T], opts ...TypeOption) *Type[T] {
	o := typeOptions{spec: MessageSpec{Name: name}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return &Type[T]{spec: o.spec, codec: codec, subs: o.subs}
}

// Name is the type's name on the wire.
func (t *Type[T]) Name() string { return t.spec.Name }

// Received is a message that has arrived and been decoded.
type Received[T any] struct {
	Value   T
	From    peer.ID            // the peer that sent it to us; empty for a message of this node itself
	Author  string             // who signed it, where Config.SignMessages is set
	Message dispatcher.Message // as it came, for Relay
}

// Subscription is a typed subscription; Close ends it.
type Subscription struct {
	s   Service
	sub dispatcher.Subscriber
}

// Close ends the subscription. Messages not yet handled are dropped and
// counted. It is idempotent, and its error is nil.
func (s *Subscription) Close() error {
	err := s.s.Deregister(s.sub)
	if errors.Is(err, dispatcher.ErrNotRegistered) {
		return nil // closed before
	}
	return err
}

// Subscribe has fn called for every message of the type, one at a time and in
// order unless options say otherwise. Its context ends when the service stops.
// A message that does not decode is counted. It counts against a peer that sent
// it to this node alone; a broadcast does not, as the peer it came from may only
// have passed it on. Validate keeps such broadcasts from being passed on.
// Errors: dispatcher.ErrNilHandler for a nil fn, what is wrong with the
// declaration, and those of NebService.Register.
func (t *Type[T]) Subscribe(s Service, fn func(ctx context.Context, m Received[T]), opts ...dispatcher.SubscriberOption) (*Subscription, error) {
	if fn == nil {
		return nil, fmt.Errorf("subscribe to %s: %w", t.spec.Name, dispatcher.ErrNilHandler)
	}
	if err := t.declare(s); err != nil {
		return nil, err
	}
	sub := &Subscription{s: s}
	sub.sub = dispatcher.NewHandler(sub, t.spec.Name, func(ctx context.Context, m dispatcher.Message) {
		if v, ok := t.decode(s, m); ok {
			fn(ctx, received(s, m, v))
		}
	}, t.subscriberOptions(opts)...)
	if err := s.Register(sub.sub); err != nil {
		return nil, err
	}
	return sub, nil
}

// Messages yields every message of the type that arrives while the loop runs,
// until ctx ends or the service stops. Where Subscribe would return an error, it
// yields nothing, and the error is logged.
func (t *Type[T]) Messages(ctx context.Context, s Service, opts ...dispatcher.SubscriberOption) iter.Seq[Received[T]] {
	return func(yield func(Received[T]) bool) {
		sub := dispatcher.NewSubscription(new(Subscription), t.spec.Name, t.subscriberOptions(opts)...)
		err := t.declare(s)
		if err == nil {
			err = s.Register(sub)
		}
		if err != nil {
			if n := inside(s); n != nil {
				n.obs.Log("types").WithError(err).WithField("type", obs.Clean(t.spec.Name)).Error("no messages of this type")
			}
			return
		}
		defer s.Deregister(sub)
		for m := range sub.All(ctx) {
			if v, ok := t.decode(s, m); ok && !yield(received(s, m, v)) {
				return
			}
		}
	}
}

func (t *Type[T]) subscriberOptions(more []dispatcher.SubscriberOption) []dispatcher.SubscriberOption {
	name := dispatcher.WithName(typeName(reflect.TypeFor[T]())) // the ID is a pointer, which says nothing
	return slices.Concat([]dispatcher.SubscriberOption{name}, t.subs, more)
}

// decode is false for a payload that is not one of the type; that is counted
// then.
func (t *Type[T]) decode(s Service, m dispatcher.Message) (T, bool) {
	v, err := t.codec.Decode(m.Data())
	if err != nil {
		if n := inside(s); n != nil {
			n.node.undecodable(m, err)
		}
		return v, false
	}
	return v, true
}

func received[T any](s Service, m dispatcher.Message, v T) Received[T] {
	return Received[T]{Value: v, From: senderOf(s, m), Author: author(m), Message: m}
}

// author is who signed a message, empty where nobody did.
func author(m dispatcher.Message) string {
	if g, ok := m.(*gossiped); ok {
		return g.Author()
	}
	return ""
}

// Validate has messages of the type that come by gossip judged by v, see
// NebService.SetValidator. One that does not decode is rejected. nil takes the
// validator away, and nothing is judged or decoded then.
func (t *Type[T]) Validate(s Service, v func(ctx context.Context, m Received[T]) Verdict) error {
	if err := t.declare(s); err != nil {
		return err
	}
	if v == nil {
		return s.SetValidator(t.spec.Name, nil)
	}
	return s.SetValidator(t.spec.Name, func(ctx context.Context, m dispatcher.Message) Verdict {
		value, ok := t.decode(s, m)
		if !ok {
			return Reject()
		}
		return v(ctx, received(s, m, value))
	})
}

// Broadcast sends v to the whole network, see NebService.Broadcast.
func (t *Type[T]) Broadcast(ctx context.Context, s Service, v T) error {
	data, err := t.encode(s, v)
	if err != nil {
		return err
	}
	if neb, ok := s.(*NebService); ok && t.fresh() {
		if err := neb.running(); err != nil {
			return err
		}
		return neb.node.broadcast(ctx, t.spec.Name, data)
	}
	return s.Broadcast(ctx, t.spec.Name, data)
}

// Relay passes a received message on, see NebService.Relay.
func (t *Type[T]) Relay(ctx context.Context, s Service, m Received[T]) error {
	return s.Relay(ctx, m.Message)
}

// Send sends v to one peer, see NebService.SendMessageToPeer.
func (t *Type[T]) Send(ctx context.Context, s Service, to peer.ID, v T, opts ...SendOption) error {
	data, err := t.encode(s, v)
	if err != nil {
		return err
	}
	neb, ok := s.(*NebService)
	if !ok {
		return s.SendMessageToPeer(ctx, t.spec.Name, data, to.String(), opts...)
	}
	if err := neb.running(); err != nil {
		return err
	}
	k := neb.node.peerSet.get(to)
	if k == nil {
		return unknownPeer(to.String())
	}
	o := sendOptions(opts)
	o.Shared = t.fresh()
	return neb.node.send(ctx, k, t.spec.Name, data, o)
}

// SendTo sends v to the peers that the filter chooses and returns those for
// which it was queued, see NebService.SendMessageToPeers.
func (t *Type[T]) SendTo(ctx context.Context, s Service, filter PeerFilter, v T, opts ...SendOption) ([]string, error) {
	data, err := t.encode(s, v)
	if err != nil {
		return nil, err
	}
	if neb, ok := s.(*NebService); ok && t.fresh() {
		return neb.sendToMany(ctx, t.spec.Name, data, filter, opts)
	}
	return s.SendMessageToPeers(ctx, t.spec.Name, data, filter, opts...)
}

// Put hands v to this node's own subscribers, see NebService.PutMessage.
func (t *Type[T]) Put(s Service, v T) error {
	data, err := t.encode(s, v)
	if err != nil {
		return err
	}
	return s.PutMessage(dispatcher.NewMessage(t.spec.Name, "", data))
}

// declare makes the type known to a service, which never forgets it.
func (t *Type[T]) declare(s Service) error {
	n := inside(s) // nil for a Service that the program has made up
	if n != nil && t.with.Load() == any(n.self) {
		return nil
	}
	if t.codec == nil {
		return &ConfigError{Field: t.spec.Name + ".Codec", Err: errors.New("is nil")}
	}
	if err := s.Declare(t.spec); err != nil {
		return err
	}
	if n != nil {
		t.with.Store(n.self)
	}
	return nil
}

// fresh tells that what encode gives belongs to nobody else.
func (t *Type[T]) fresh() bool {
	_, ok := t.codec.(freshCodec)
	return ok
}

func (t *Type[T]) encode(s Service, v T) ([]byte, error) {
	if err := t.declare(s); err != nil {
		return nil, err
	}
	data, err := t.codec.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t.spec.Name, err)
	}
	return data, nil
}

// typeName is a Go type as programs write it.
func typeName(t reflect.Type) string { return strings.ReplaceAll(t.String(), "[]uint8", "[]byte") }
