package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"sync"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// The whole of it: a handler that loses nothing, and a message for it.
func Example() {
	d, err := dispatcher.New(dispatcher.Config{})
	if err != nil {
		log.Fatal(err)
	}
	blocks := dispatcher.NewHandler("chain", "block",
		func(_ context.Context, m dispatcher.Message) { fmt.Printf("import %s\n", m.Data()) },
		dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithFilter(true))
	if err := d.Register(blocks); err != nil {
		log.Fatal(err)
	}
	if err := d.Start(); err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"block 1", "block 2", "block 1"} {
		if err := d.PutMessage(dispatcher.NewMessage("block", "", []byte(text))); err != nil {
			log.Fatal(err)
		}
	}
	if err := d.Stop(context.Background()); err != nil { // hands over what waits
		log.Fatal(err)
	}
	// Output:
	// import block 1
	// import block 2
}

// running returns a started dispatcher.
func running(subs ...dispatcher.Subscriber) *dispatcher.Dispatcher {
	d, err := dispatcher.New(dispatcher.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Register(subs...); err != nil {
		log.Fatal(err)
	}
	if err := d.Start(); err != nil {
		log.Fatal(err)
	}
	return d
}

func ExampleNew() {
	logger, registry := logrus.New(), metrics.NewRegistry()
	d, err := dispatcher.New(dispatcher.Config{QueueSize: 1024, StopTimeout: time.Second},
		dispatcher.WithLogger(logger), dispatcher.WithMetrics(registry))
	fmt.Println(d != nil, err)

	_, err = dispatcher.New(dispatcher.Config{QueueSize: -1})
	fmt.Println(err)
	// Output:
	// true <nil>
	// config: QueueSize: -1 is not within 1 and 16777216
}

func ExampleConfig_Validate() {
	cfg := dispatcher.DefaultConfig()
	cfg.FilterSize = -1
	var bad *dispatcher.ConfigError
	if errors.As(cfg.Validate(), &bad) {
		fmt.Println("wrong:", bad.Field)
	}
	// Output: wrong: FilterSize
}

// A channel that a loop elsewhere reads. Without an option, messages for which
// it has no room are dropped and counted.
func ExampleNewSubscriber() {
	ch := make(chan dispatcher.Message, 16)
	d := running(dispatcher.NewSubscriber("pool", ch, true, "tx", 1, dispatcher.WithCloseChannel()))
	for _, text := range []string{"a", "b", "a"} {
		_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte(text)))
	}
	_ = d.Stop(context.Background())
	for m := range ch { // ends, because of WithCloseChannel
		fmt.Printf("%s\n", m.Data())
	}
	// Output:
	// a
	// b
}

func ExampleNewHandler() {
	sum := make(chan int)
	d := running(dispatcher.NewHandler("sizes", "tx", func(_ context.Context, m dispatcher.Message) {
		sum <- len(m.Data())
	}, dispatcher.WithWorkers(2), dispatcher.WithQueue(100), dispatcher.WithQueueBytes(1<<20), dispatcher.WithWeight(3)))
	_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte("four")))
	fmt.Println(<-sum)
	_ = d.Stop(context.Background())
	// Output: 4
}

// Of the heights that a peer announces, only the last one that nobody has
// looked at yet is of interest.
func ExampleWithKey() {
	sub := dispatcher.NewSubscription("heights", "height", dispatcher.WithKey(dispatcher.Message.MessageFrom))
	var arrived sync.WaitGroup
	arrived.Add(6)
	d := running(sub, dispatcher.NewHandler("late", "height", func(context.Context, dispatcher.Message) { arrived.Done() }))
	for _, height := range []string{"10", "11", "12"} {
		_ = d.PutMessage(dispatcher.NewMessage("height", "peer A", []byte(height)))
		_ = d.PutMessage(dispatcher.NewMessage("height", "peer B", []byte("5")))
	}
	arrived.Wait() // nobody looks until then
	go func() { _ = d.Stop(context.Background()) }()
	for m := range sub.All(context.Background()) { // ends with the dispatcher
		fmt.Printf("%s is at %s\n", m.MessageFrom(), m.Data())
	}
	<-d.Done()
	// Output:
	// peer A is at 12
	// peer B is at 5
}

func ExampleNewSubscription() {
	sub := dispatcher.NewSubscription("pool", "tx", dispatcher.WithPolicy(dispatcher.DropOldest))
	d := running(sub)
	_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte("a")))
	for m := range sub.All(context.Background()) {
		fmt.Printf("%s\n", m.Data())
		break
	}
	fmt.Println(d.Register(sub))
	_ = d.Stop(context.Background())
	// Output:
	// a
	// subscriber pool of type "tx": registered already
}

func ExampleDispatcher_Messages() {
	d := running()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	txs := d.Messages(ctx, "tx")
	_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte("a")))
	for m := range txs {
		fmt.Printf("%s\n", m.Data())
		break
	}
	_ = d.Stop(context.Background())
	// Output: a
}

func ExampleDispatcher_PutMessages() {
	d := running(dispatcher.NewHandler("h", "tx", func(context.Context, dispatcher.Message) {}))
	payloads := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	n, err := d.PutMessages(context.Background(), dispatcher.AppendMessages(nil, "tx", "peer", payloads))
	fmt.Println(n, err)
	_ = d.Stop(context.Background())
	// Output: 3 <nil>
}

// A publisher that must not wait for ever for a lossless subscriber.
func ExampleDispatcher_PutMessageContext() {
	d, err := dispatcher.New(dispatcher.Config{StopTimeout: time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	full := dispatcher.NewSubscription("full", "tx", dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1))
	_ = d.Register(full)
	_ = d.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for err == nil {
		err = d.PutMessageContext(ctx, dispatcher.NewMessage("tx", "", nil))
	}
	fmt.Println(err)
	fmt.Println(d.TryPutMessage(dispatcher.NewMessage("tx", "", nil)))
	fmt.Println(d.Stop(context.Background()))
	// Output:
	// wait for room for type tx: context deadline exceeded
	// queue full: type tx, or a lossless subscriber of it (WithQueue), takes no more now
	// stopped before everything was delivered; 1 of tx
}

// Deregistering goes by identity.
func ExampleDispatcher_Deregister() {
	ch := make(chan dispatcher.Message, 1)
	d := running(dispatcher.NewSubscriber("pool", ch, true, "tx", 1))
	fmt.Println(d.Deregister(dispatcher.NewSubscriber("pool", nil, false, "tx", 0)))
	fmt.Println(errors.Is(d.Deregister(dispatcher.NewSubscriber("pool", nil, false, "tx", 0)), dispatcher.ErrNotRegistered))
	_ = d.Stop(context.Background())
	// Output:
	// <nil>
	// true
}

func ExampleDispatcher_Stats() {
	d := running(dispatcher.NewSubscriber("small", make(chan dispatcher.Message, 1), true, "tx", 1))
	for _, text := range []string{"a", "b", "a"} {
		_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte(text)))
	}
	_ = d.PutMessage(dispatcher.NewMessage("block", "", nil))
	_ = d.Stop(context.Background())
	s := d.Stats().Total
	fmt.Println("received", s.Received, "=", s.Delivered, "delivered +", s.Duplicate, "duplicate +",
		s.DroppedTotal(), "dropped +", s.Unrouted, "unrouted")
	fmt.Println(s.Dropped)
	// Output:
	// received 4 = 1 delivered + 1 duplicate + 1 dropped + 1 unrouted
	// map[subscriber_full:1]
}

// After Stop everything is net.ErrClosed.
func ExampleDispatcher_Stop() {
	d := running()
	fmt.Println(d.Stop(context.Background()))
	<-d.Done()
	fmt.Println(errors.Is(d.PutMessage(dispatcher.NewMessage("tx", "", nil)), net.ErrClosed))
	// Output:
	// <nil>
	// true
}

func ExampleUndeliveredError() {
	d, err := dispatcher.New(dispatcher.Config{StopTimeout: 20 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	_ = d.Register(dispatcher.NewHandler("deaf", "tx", func(context.Context, dispatcher.Message) {
		close(began)
		<-release
	}))
	_ = d.Start()
	_ = d.PutMessage(dispatcher.NewMessage("tx", "", nil))
	<-began
	var lost *dispatcher.UndeliveredError
	if errors.As(d.Stop(context.Background()), &lost) {
		fmt.Println("stuck:", lost.Stuck)
	}
	// Output: stuck: [deaf/tx]
}

func ExampleValidType() {
	fmt.Println(dispatcher.ValidType("block.v2"))
	fmt.Println(dispatcher.ValidType("block/v2"))
	// Output:
	// <nil>
	// invalid message type: "block/v2" has byte 0x2f at 5: want 1 to 64 letters, digits, dots, dashes and underscores
}

func ExampleNewMessage() {
	m := dispatcher.NewMessage("tx", "12D3KooW...", []byte("payload"))
	fmt.Println(m.MessageType(), m.MessageFrom(), string(m.Data()))
	fmt.Println(m.Hash() == dispatcher.HashOf("tx", []byte("payload")))
	// Output:
	// tx 12D3KooW... payload
	// true
}

func ExampleAppendMessages() {
	msgs := dispatcher.AppendMessages(nil, "tx", "peer", [][]byte{[]byte("a"), []byte("b")})
	for _, m := range msgs {
		fmt.Printf("%s from %s: %s\n", m.MessageType(), m.MessageFrom(), m.Data())
	}
	// Output:
	// tx from peer: a
	// tx from peer: b
}

// printer is a Subscriber of the user's own.
type printer struct{}

func (*printer) ID() any                          { return "printer" }
func (*printer) MessageType() string              { return "tx" }
func (*printer) DoFilter() bool                   { return false }
func (*printer) Weight() dispatcher.MessageWeight { return 1 }

func (p *printer) Deliver(m dispatcher.Message) bool {
	fmt.Printf("%s\n", m.Data())
	return true
}

func ExampleSubscriber() {
	d := running(new(printer))
	_ = d.PutMessage(dispatcher.NewMessage("tx", "", []byte("a")))
	_ = d.Stop(context.Background())
	// Output: a
}

// counter takes all that waits with one call.
type counter struct {
	printer
	n int
}

func (c *counter) DeliverBatch(msgs []dispatcher.Message) int {
	c.n += len(msgs)
	return len(msgs)
}

func ExampleBatchSubscriber() {
	c := new(counter)
	d := running(c)
	for range 100 {
		_ = d.PutMessage(dispatcher.NewMessage("tx", "", nil))
	}
	_ = d.Stop(context.Background())
	fmt.Println(c.n)
	// Output: 100
}
