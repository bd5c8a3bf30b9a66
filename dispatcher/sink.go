package dispatcher

import (
	"context"
	"reflect"
)

// sink is where the loop puts the messages of one subscriber.
type sink interface {
	// offer takes messages from the front, counting each in *n as it is taken
	// so that the count is right after a panic of user code. Less than all
	// means that there is no room for the next. Only the loop calls it.
	offer(msgs []Message, sizes []uint32, n *int)
	// evicted returns messages that were taken and then dropped for room since
	// the last call, for the filter to forget them. Only the loop calls it.
	evicted() []Message
	// begin starts what goroutines there are. ctx ends when the dispatcher has
	// no more time to drain.
	begin(ctx context.Context)
	// retire is called once, when the loop has done its last offer: nothing
	// more is handed over, what waits is dropped under the reason.
	retire(reason dropIndex)
	// shrink gives up memory that a past burst needed.
	shrink()
	// late tells what became of messages after they were taken.
	late() lateCounts
}

// tail is a sink that holds messages after the loop has ended.
type tail interface {
	sink
	// drain takes no more and ends when all is handed over.
	drain()
	// abort drops what waits and returns how many messages that were.
	abort() int
	// ended is closed when nothing waits and no goroutine runs.
	ended() <-chan struct{}
}

// lateCounts: taken = handled + queued + drops.
type lateCounts struct {
	taken, handled uint64
	drops          dropCounts
	panics         uint64
	known          bool // false: the loop's own counts are all there is
}

// plainSink calls a Subscriber of another module.
type plainSink struct {
	sub  Subscriber
	e    *entry
	turn *turn
}

func (s plainSink) offer(msgs []Message, _ []uint32, n *int) {
	if !s.turn.take(s.e, 1) {
		return
	}
	for i, m := range msgs {
		if !s.sub.Deliver(m) {
			break
		}
		*n++
		if i+1 == len(msgs) || !s.turn.renew() {
			break
		}
	}
	s.turn.give()
}

func (plainSink) evicted() []Message    { return nil }
func (plainSink) begin(context.Context) {}
func (plainSink) retire(dropIndex)      {}
func (plainSink) shrink()               {}
func (plainSink) late() lateCounts      { return lateCounts{} }

// batchSink calls a BatchSubscriber of another module.
type batchSink struct {
	plainSink
	batch BatchSubscriber
}

func (s batchSink) offer(msgs []Message, _ []uint32, n *int) {
	if !s.turn.take(s.e, len(msgs)) {
		return
	}
	took := s.batch.DeliverBatch(msgs)
	s.turn.give()
	*n = min(max(took, 0), len(msgs))
}

// validID tells whether an ID can be a key: the dynamic type may hold what
// panics when compared.
func validID(id any) bool { return id != nil && reflect.ValueOf(id).Comparable() }
