package dispatcher

import "fmt"

// ChanSubscriber is a Subscriber that puts messages into a channel. Make one
// with NewSubscriber.
type ChanSubscriber struct {
	base
	ch chan Message
}

// NewSubscriber returns a subscriber that puts messages of msgType into ch. It
// is registered with Dispatcher.Register, which reports what is wrong with it.
//
// A message that finds the channel full is dropped and counted, unless an
// option sets another policy. DropOldest receives from the channel to make
// space and so needs one with a buffer. Lossless and NewestPerKey keep what the
// channel does not take in a queue of their own (WithQueue), which a goroutine
// empties.
//
// A channel that has been full keeps a quarter of its places for senders that
// have taken less than others of late, until half of it is free again.
//
// Deregister and Stop do not wait for the channel to be read. They do not
// close it either, unless WithCloseChannel says so.
func NewSubscriber(id any, ch chan Message, doFilter bool, msgType string, weight MessageWeight, opts ...SubscriberOption) *ChanSubscriber {
	c := &ChanSubscriber{newBase(id, msgType, opts), ch}
	c.opts.filter, c.opts.weight = doFilter, weight
	return c
}

// Deliver implements Subscriber: it puts msg into the channel if there is space.
func (c *ChanSubscriber) Deliver(msg Message) bool {
	select {
	case c.ch <- msg:
		return true
	default:
		return false
	}
}

// builtin marks types whose behaviour is more than their Deliver.
func (c *ChanSubscriber) builtin() bool { return c.opts.policy != DropNewest || c.opts.closeChan }

func (c *ChanSubscriber) connect(s *subscription) error {
	switch {
	case c.ch == nil:
		return ErrNilChannel
	case c.opts.policy == DropOldest && cap(c.ch) == 0:
		return fmt.Errorf("%w: DropOldest needs a channel with a buffer", ErrInvalidOption)
	}
	if err := c.opts.check(); err != nil {
		return err
	}
	s.init(&c.opts)
	last := s.last()
	last.ch, last.ownCode, last.closeCh = c.ch, true, c.opts.closeChan
	switch c.opts.policy {
	case Lossless:
		s.direct, s.chunk, s.consume = true, 64, s.send
	case NewestPerKey:
		last.consume = last.send // one at a time: what is taken cannot be replaced any more
	default:
		s.direct = true
	}
	return nil
}

// closeChannel survives a channel that its owner closed against the rules.
func closeChannel(ch chan Message) {
	defer func() { _ = recover() }()
	close(ch)
}
