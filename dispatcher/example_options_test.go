package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// The hash by which others may know a message, without making one.
func ExampleHashOf() {
	data := []byte("payload")
	fmt.Println(dispatcher.HashOf("tx", data) == dispatcher.NewMessage("tx", "", data).Hash())
	fmt.Println(dispatcher.HashOf("tx", data) == dispatcher.HashOf("block", data))
	// Output:
	// true
	// false
}

// Of what waits, the newest is kept.
func ExampleWithPolicy() {
	sub := dispatcher.NewSubscription("view", "price",
		dispatcher.WithPolicy(dispatcher.DropOldest), dispatcher.WithQueue(2), dispatcher.WithQueueBytes(1<<20))
	d, err := dispatcher.New(dispatcher.Config{StopTimeout: 100 * time.Millisecond})
	if err == nil {
		err = errors.Join(d.Register(sub), d.Start())
	}
	if err != nil {
		panic(err)
	}
	for _, price := range []string{"1.10", "1.20", "1.30"} {
		if err := d.PutMessage(dispatcher.NewMessage("price", "", []byte(price))); err != nil {
			panic(err)
		}
	}
	fmt.Println(d.Stop(context.Background())) // nobody has read what is left
	fmt.Println(d.Stats().Subscribers[0].Dropped[dispatcher.DropOldestWaiting])
	// Output:
	// stopped before everything was delivered; 2 of price
	// 1
}

// Several at a time, in no order.
func ExampleWithWorkers() {
	var sum atomic.Int64
	d := running(dispatcher.NewHandler("sum", "tx", func(_ context.Context, m dispatcher.Message) {
		sum.Add(int64(len(m.Data())))
	}, dispatcher.WithWorkers(4), dispatcher.WithWeight(2)))
	for range 100 {
		if err := d.PutMessage(dispatcher.NewMessage("tx", "", make([]byte, 10))); err != nil {
			panic(err)
		}
	}
	fmt.Println(d.Stop(context.Background()), sum.Load())
	// Output: <nil> 1000
}

// The channel is closed when its subscriber has gone, as for range wants it.
func ExampleWithCloseChannel() {
	ch := make(chan dispatcher.Message, 8)
	d := running(dispatcher.NewSubscriber("log", ch, false, "tx", 1, dispatcher.WithCloseChannel()))
	for _, text := range []string{"one", "two"} {
		if err := d.PutMessage(dispatcher.NewMessage("tx", "", []byte(text))); err != nil {
			panic(err)
		}
	}
	if err := d.Stop(context.Background()); err != nil {
		panic(err)
	}
	for m := range ch {
		fmt.Println(string(m.Data()))
	}
	// Output:
	// one
	// two
}

// signed is a message of this package with something added.
type signed struct {
	*dispatcher.BasicMessage
	by string
}

func (s signed) Basic() *dispatcher.BasicMessage { return s.BasicMessage }

// A copy with something added is a copy nevertheless.
func ExampleCarrier() {
	ch := make(chan dispatcher.Message, 8)
	d := running(dispatcher.NewSubscriber("once", ch, true, "tx", 1))
	plain := dispatcher.NewMessage("tx", "", []byte("payload"))
	for _, m := range []dispatcher.Message{plain, signed{plain, "alice"}} {
		if err := d.PutMessage(m); err != nil {
			panic(err)
		}
	}
	fmt.Println(d.Stop(context.Background()), len(ch))
	// Output: <nil> 1
}

// What became of each message, one by one.
func ExampleDispatcher_Trace() {
	d := running(dispatcher.NewHandler("sum", "tx", func(context.Context, dispatcher.Message) {}, dispatcher.WithFilter(true)))
	d.Trace(func(m dispatcher.Message, o dispatcher.Outcome) { fmt.Printf("%s: %s\n", m.Data(), o) })
	for _, text := range []string{"a", "b", "a"} {
		if err := d.PutMessage(dispatcher.NewMessage("tx", "", []byte(text))); err != nil {
			panic(err)
		}
	}
	_ = d.Stop(context.Background())
	// Output:
	// a: delivered
	// b: delivered
	// a: duplicate
}
