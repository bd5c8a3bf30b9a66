package dispatcher_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// The benchmarks run the plain loop and the dispatcher in turns, a round of
// benchRound messages each, and report the ratio of the times from the first
// PutMessage to the last message received. Nothing is lost in a round: it fits
// into every queue.
//
//	go test ./dispatcher -run '^$' -bench . -benchtime 40x -count 3
const (
	benchRound = 50_000
	benchSize  = 256
	benchRings = 4 // more than the filters remember
	benchType  = "bench"
)

var benchMessages = sync.OnceValue(func() [][]dispatcher.Message {
	rings := make([][]dispatcher.Message, benchRings)
	n := uint64(0)
	for i := range rings {
		for range benchRound {
			data := make([]byte, benchSize)
			binary.LittleEndian.PutUint64(data, n)
			n++
			rings[i] = append(rings[i], dispatcher.NewMessage(benchType, "", data))
		}
	}
	return rings
})

type benchCase struct {
	publishers  int
	subscribers int
	filter      bool
	handler     bool
	batch       int
	opts        []dispatcher.SubscriberOption
}

func BenchmarkDispatch(b *testing.B) {
	for _, c := range []benchCase{
		{publishers: 1, subscribers: 1},
		{publishers: 1, subscribers: 1, filter: true},
		{publishers: 1, subscribers: 1, handler: true},
		{publishers: 1, subscribers: 1, handler: true, filter: true},
		{publishers: 8, subscribers: 4},
		{publishers: 8, subscribers: 4, handler: true},
		{publishers: 8, subscribers: 4, handler: true, filter: true},
		{publishers: 1, subscribers: 1, batch: 32},
		{publishers: 1, subscribers: 1, handler: true, batch: 32},
		{publishers: 1, subscribers: 1, handler: true, batch: 32, filter: true},
		{publishers: 1, subscribers: 16},
		{publishers: 1, subscribers: 16, handler: true},
	} {
		kind, batch, filter := "channel", "", ""
		if c.handler {
			kind = "handler"
		}
		if c.filter {
			filter = "/filter"
		}
		if c.batch > 0 {
			batch = fmt.Sprintf("/batch%d", c.batch)
		}
		b.Run(fmt.Sprintf("%dto%d/%s%s%s", c.publishers, c.subscribers, kind, filter, batch), c.run)
	}
}

func (c benchCase) run(b *testing.B) {
	rings := benchMessages()
	plain, stopPlain := c.plain()
	defer stopPlain()
	ours, stopOurs := c.ours(b)
	defer stopOurs()
	plain(rings[0])
	ours(rings[0])

	var tPlain, tOurs time.Duration
	var mallocs uint64
	var before, after runtime.MemStats
	i := 0
	for b.Loop() {
		i++
		ring := rings[i%benchRings]
		start := time.Now()
		plain(ring)
		tPlain += time.Since(start)
		runtime.ReadMemStats(&before)
		start = time.Now()
		ours(ring)
		tOurs += time.Since(start)
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
	}
	n := float64(i) * benchRound
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(tPlain.Nanoseconds())/n, "plain-ns/msg")
	b.ReportMetric(float64(tOurs.Nanoseconds())/n, "ns/msg")
	b.ReportMetric(float64(mallocs)/n, "allocs/msg")
	b.ReportMetric(float64(tPlain)/float64(tOurs), "x-plain")
}

// publish has every publisher put its share of ring.
func (c benchCase) publish(ring []dispatcher.Message, put func([]dispatcher.Message)) {
	if c.publishers == 1 {
		put(ring)
		return
	}
	var wg sync.WaitGroup
	share := len(ring) / c.publishers
	for p := range c.publishers {
		wg.Go(func() { put(ring[p*share : (p+1)*share]) })
	}
	wg.Wait()
}

// consume starts a reader of a channel that reports every round it has read.
func consume(ch chan dispatcher.Message, rounds chan<- struct{}) {
	n := 0
	for range ch {
		if n++; n%benchRound == 0 {
			rounds <- struct{}{}
		}
	}
}

func await(rounds <-chan struct{}, n int) {
	for range n {
		<-rounds
	}
}

func (c benchCase) plain() (round func([]dispatcher.Message), stop func()) {
	p := newPlainLoop(c.filter)
	rounds := make(chan struct{}, c.subscribers)
	var chans []chan dispatcher.Message
	for range c.subscribers {
		ch := make(chan dispatcher.Message, 65536)
		chans = append(chans, ch)
		p.register(benchType, ch)
		go consume(ch, rounds)
	}
	round = func(ring []dispatcher.Message) {
		c.publish(ring, func(share []dispatcher.Message) {
			for _, m := range share {
				p.put(m)
			}
		})
		await(rounds, c.subscribers)
	}
	return round, func() {
		p.stop()
		for _, ch := range chans {
			close(ch)
		}
	}
}

func (c benchCase) ours(b *testing.B) (round func([]dispatcher.Message), stop func()) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := dispatcher.New(dispatcher.Config{}, dispatcher.WithLogger(log))
	if err != nil {
		b.Fatal(err)
	}
	rounds := make(chan struct{}, c.subscribers)
	var chans []chan dispatcher.Message
	for i := range c.subscribers {
		var sub dispatcher.Subscriber
		if c.handler {
			n := 0
			sub = dispatcher.NewHandler(i, benchType, func(context.Context, dispatcher.Message) {
				if n++; n%benchRound == 0 {
					rounds <- struct{}{}
				}
			}, append(c.opts, dispatcher.WithFilter(c.filter), dispatcher.WithQueue(65536))...)
		} else {
			ch := make(chan dispatcher.Message, 65536)
			chans = append(chans, ch)
			sub = dispatcher.NewSubscriber(i, ch, c.filter, benchType, 1, c.opts...)
			go consume(ch, rounds)
		}
		if err := d.Register(sub); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.Start(); err != nil {
		b.Fatal(err)
	}
	round = func(ring []dispatcher.Message) {
		c.publish(ring, func(share []dispatcher.Message) {
			if c.batch > 0 {
				for len(share) > 0 {
					k := min(c.batch, len(share))
					if _, err := d.PutMessages(context.Background(), share[:k]); err != nil {
						b.Error(err)
					}
					share = share[k:]
				}
				return
			}
			for _, m := range share {
				if err := d.PutMessage(m); err != nil {
					b.Error(err)
				}
			}
		})
		await(rounds, c.subscribers)
	}
	return round, func() {
		if err := d.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		if s := d.Stats().Total; s.Delivered != s.Received {
			b.Errorf("lost some: %+v", s)
		}
		for _, ch := range chans {
			close(ch)
		}
	}
}

// BenchmarkSleeper measures the time from PutMessage to the handler of one
// type, without and with a lossless subscriber of another type that sleeps and
// whose publishers wait, in turns. It reports both p99 and their ratio.
//
//	go test ./dispatcher -run '^$' -bench Sleeper -benchtime 20x
func BenchmarkSleeper(b *testing.B) {
	quiet, stopQuiet := latency(b, false)
	defer stopQuiet()
	asleep, stopAsleep := latency(b, true)
	defer stopAsleep()
	const n = 2000
	var without, with []time.Duration
	for b.Loop() {
		without = append(without, quiet(n)...)
		with = append(with, asleep(n)...)
	}
	slices.Sort(without)
	slices.Sort(with)
	p99 := func(d []time.Duration) float64 { return float64(d[len(d)*99/100].Nanoseconds()) / 1e3 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p99(without), "p99-us")
	b.ReportMetric(p99(with), "p99-sleeper-us")
	b.ReportMetric(p99(with)/p99(without), "x-p99")
}

// latency returns a function that puts n messages one after the other, waiting
// for each, and returns how long they took.
func latency(b *testing.B, sleeper bool) (measure func(n int) []time.Duration, stop func()) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := dispatcher.New(dispatcher.Config{QueueSize: 100, StopTimeout: time.Second}, dispatcher.WithLogger(log))
	if err != nil {
		b.Fatal(err)
	}
	arrived := make(chan time.Time, 1)
	subs := []dispatcher.Subscriber{dispatcher.NewHandler("h", benchType, func(context.Context, dispatcher.Message) {
		arrived <- time.Now()
	})}
	if sleeper {
		subs = append(subs, dispatcher.NewHandler("sleeper", "slow", func(ctx context.Context, _ dispatcher.Message) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(4)))
	}
	if err := d.Register(subs...); err != nil {
		b.Fatal(err)
	}
	if err := d.Start(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var publishers sync.WaitGroup
	if sleeper {
		for range 4 {
			publishers.Go(func() {
				m := dispatcher.NewMessage("slow", "", make([]byte, benchSize))
				for d.PutMessageContext(ctx, m) == nil {
				}
			})
		}
	}
	m := dispatcher.NewMessage(benchType, "", make([]byte, benchSize))
	measure = func(n int) (took []time.Duration) {
		for range n {
			start := time.Now()
			if err := d.PutMessage(m); err != nil {
				b.Fatal(err)
			}
			took = append(took, (<-arrived).Sub(start))
		}
		return took
	}
	return measure, func() {
		cancel()
		publishers.Wait()
		_ = d.Stop(context.Background()) // the sleeper's queue is lost
	}
}
