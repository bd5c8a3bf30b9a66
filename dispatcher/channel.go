package dispatcher

import (
	"context"
	"fmt"
	"sync/atomic"
)

// ChanSubscriber is a Subscriber that puts messages into a channel. Make one
// with NewSubscriber.
type ChanSubscriber struct {
	id     any
	ch     chan Message
	filter bool
	typ    string
	weight MessageWeight
	opts   subOptions
}

// NewSubscriber returns a subscriber that puts messages of msgType into ch. It
// is registered with Dispatcher.Register, which reports what is wrong with it.
//
// A message that finds the channel full is dropped and counted, unless an
// option sets another policy. DropOldest receives from the channel to make
// room and so needs one with a buffer. Lossless and NewestPerKey keep what the
// channel does not take in a queue of their own (WithQueue), which a goroutine
// empties; it runs only while the channel is full.
//
// Deregister and Stop do not wait for the channel to be read. They do not
// close it either, unless WithCloseChannel says so.
func NewSubscriber(id any, ch chan Message, doFilter bool, msgType string, weight MessageWeight, opts ...SubscriberOption) *ChanSubscriber {
	return &ChanSubscriber{id: id, ch: ch, filter: doFilter, typ: msgType, weight: weight, opts: newSubOptions(opts)}
}

// ID implements Subscriber.
func (s *ChanSubscriber) ID() any { return s.id }

// MessageType implements Subscriber.
func (s *ChanSubscriber) MessageType() string { return s.typ }

// DoFilter implements Subscriber.
func (s *ChanSubscriber) DoFilter() bool { return s.filter }

// Weight implements Subscriber.
func (s *ChanSubscriber) Weight() MessageWeight { return s.weight }

// Deliver implements Subscriber: it puts msg into the channel if there is room.
func (s *ChanSubscriber) Deliver(msg Message) bool {
	select {
	case s.ch <- msg:
		return true
	default:
		return false
	}
}

func (s *ChanSubscriber) check() error {
	switch {
	case s.ch == nil:
		return ErrNilChannel
	case s.opts.policy == DropOldest && cap(s.ch) == 0:
		return fmt.Errorf("%w: DropOldest needs a channel with a buffer", ErrInvalidOption)
	}
	return s.opts.check()
}

// builtin marks types whose behaviour is more than their Deliver.
func (s *ChanSubscriber) builtin() bool { return s.opts.policy != DropNewest || s.opts.closeChan }

func (s *ChanSubscriber) sink(d *Dispatcher, room func()) sink {
	if s.opts.policy == Lossless || s.opts.policy == NewestPerKey {
		return newPump(d, s, room)
	}
	return &chanSink{ch: s.ch, dropOldest: s.opts.policy == DropOldest, report: s.filter, close: s.opts.closeChan}
}

// chanSink puts messages straight into a channel.
type chanSink struct {
	ch         chan Message
	dropOldest bool
	report     bool // keep what is evicted for the filter
	close      bool
	gone       []Message
	oldest     atomic.Uint64
}

func (s *chanSink) offer(msgs []Message, _ []uint32, n *int) {
	for _, m := range msgs {
		select {
		case s.ch <- m:
		default:
			if !s.dropOldest || !s.replace(m) {
				return
			}
		}
		*n++
	}
}

// replace makes room. Another goroutine may send on the channel too and be
// faster, so it tries a few times only.
func (s *chanSink) replace(m Message) bool {
	for range 8 {
		select {
		case old := <-s.ch:
			s.oldest.Add(1)
			if s.report {
				s.gone = append(s.gone, old)
			}
		default:
		}
		select {
		case s.ch <- m:
			return true
		default:
		}
	}
	return false
}

func (s *chanSink) evicted() []Message {
	gone := s.gone
	s.gone = s.gone[:0]
	return gone
}

func (s *chanSink) begin(context.Context) {}
func (s *chanSink) shrink()               {}

func (s *chanSink) retire(dropIndex) {
	if s.close {
		closeChannel(s.ch)
	}
}

func (s *chanSink) late() lateCounts {
	var l lateCounts
	l.drops[iOldest] = s.oldest.Load()
	return l
}

// closeChannel survives a channel that its owner closed against the rules.
func closeChannel(ch chan Message) {
	defer func() { _ = recover() }()
	close(ch)
}
