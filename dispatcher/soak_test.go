package dispatcher_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// TestSoak has publishers put messages of several types, singly and in batches
// and with repetitions, to subscribers of every kind and policy, while others
// come and go, and stops in the middle. Each subscriber checks what it gets as
// it gets it; in the end the accounts must balance.
func TestSoak(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			soak(t, seed)
		})
	}
}

const (
	soakTypes      = 3
	soakPublishers = 4
	soakMessages   = 600 // per publisher, at most
)

// soakMessage is message n of a publisher.
func soakMessage(typ, publisher, n int) dispatcher.Message {
	data := binary.BigEndian.AppendUint32(nil, uint32(publisher))
	data = binary.BigEndian.AppendUint32(data, uint32(n))
	return dispatcher.NewMessage(fmt.Sprintf("type%d", typ), "", data)
}

// order checks that the messages of each publisher come in order: without
// gaps and repetitions if the subscriber is lossless and nothing is repeated.
type order struct {
	t        *testing.T
	name     string
	repeats  bool // publishers repeat messages, and nobody filters
	lossless bool
	next     [soakPublishers]uint32
	got      atomic.Uint64
}

func (o *order) take(m dispatcher.Message) {
	p, n := binary.BigEndian.Uint32(m.Data()), binary.BigEndian.Uint32(m.Data()[4:])
	o.got.Add(1)
	switch {
	case o.repeats:
	case o.lossless && n != o.next[p]:
		o.t.Errorf("%s: publisher %d: got %d, want %d", o.name, p, n, o.next[p])
	case n < o.next[p]:
		o.t.Errorf("%s: publisher %d: got %d after %d", o.name, p, n, o.next[p]-1)
	}
	o.next[p] = max(o.next[p], n+1)
}

func soak(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	d, err := dispatcher.New(dispatcher.Config{
		QueueSize: 16 << rnd.IntN(8), FilterSize: 2 * soakPublishers * soakMessages, StopTimeout: time.Minute,
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	s := &soaker{t: t, d: d, seed: seed, sent: make([][soakPublishers]uint32, soakTypes)}
	for typ := range soakTypes {
		s.register(typ, rnd)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	s.run(rnd)
	stopped := d.Stop(context.Background())
	s.readers.Wait()
	if stopped != nil {
		t.Errorf("stop: %v", stopped)
	}
	checkAccounts(t, d)
	s.check()
}

type soaker struct {
	t       *testing.T
	d       *dispatcher.Dispatcher
	seed    uint64
	orders  []*order
	types   []int // of orders
	readers sync.WaitGroup
	mu      sync.Mutex
	sent    [][soakPublishers]uint32 // per type and publisher: messages taken, without repetitions
}

// register adds one of every kind. Type 0 has repetitions, types 0 and 1 have
// lossless subscribers.
func (s *soaker) register(typ int, rnd *rand.Rand) {
	name := fmt.Sprintf("type%d", typ)
	policies := []dispatcher.Policy{dispatcher.DropNewest, dispatcher.DropOldest}
	if typ != 2 {
		policies = append(policies, dispatcher.Lossless)
	}
	var subs []dispatcher.Subscriber
	for _, p := range policies {
		for _, filter := range []bool{false, true} {
			opts := []dispatcher.SubscriberOption{
				dispatcher.WithPolicy(p), dispatcher.WithQueue(1 + rnd.IntN(100)), dispatcher.WithFilter(filter), dispatcher.WithCloseChannel(),
			}
			add := func(kind string) *order {
				o := &order{t: s.t, name: fmt.Sprintf("%s/%s/%v/%v", name, kind, p, filter), lossless: p == dispatcher.Lossless}
				// Who drops gets the copy of what was lost, out of order.
				o.repeats = typ == 0 && (!filter || !o.lossless)
				s.orders, s.types = append(s.orders, o), append(s.types, typ)
				return o
			}
			h := add("handler")
			subs = append(subs, dispatcher.NewHandler(h.name, name, func(_ context.Context, m dispatcher.Message) { h.take(m) }, opts...))
			c := add("channel")
			ch := make(chan dispatcher.Message, 1+rnd.IntN(50))
			subs = append(subs, dispatcher.NewSubscriber(c.name, ch, filter, name, 1, opts...))
			s.readers.Go(func() {
				for m := range ch {
					c.take(m)
				}
			})
			i := add("subscription")
			sub := dispatcher.NewSubscription(i.name, name, opts...)
			subs = append(subs, sub)
			e := add("external")
			x := &external{id: e.name, typ: name, filter: filter}
			x.deliver = func(m dispatcher.Message) bool {
				if !e.lossless && e.got.Load()%7 == 3 {
					e.got.Add(1)
					return false
				}
				e.take(m)
				return true
			}
			subs = append(subs, x)
			defer s.readers.Go(func() {
				for m := range sub.All(context.Background()) {
					i.take(m)
				}
			})
		}
	}
	if err := s.d.Register(subs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *soaker) run(rnd *rand.Rand) {
	ctx, cancel := context.WithCancel(context.Background())
	var publishers, churn sync.WaitGroup
	for p := range soakPublishers {
		for typ := range soakTypes {
			publishers.Go(func() { s.publish(ctx, typ, p) })
		}
	}
	churn.Go(func() { s.churn(ctx) })
	if rnd.IntN(2) == 0 {
		// Stop while they publish.
		go func() { _ = s.d.Stop(context.Background()) }()
	}
	publishers.Wait()
	cancel()
	churn.Wait()
}

func (s *soaker) publish(ctx context.Context, typ, p int) {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(100*typ+p)))
	n := 0
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent[typ][p] = uint32(n)
	}()
	for n < soakMessages {
		if typ == 0 && n > 0 && rnd.IntN(3) == 0 {
			_ = s.d.PutMessage(soakMessage(typ, p, rnd.IntN(n)))
			continue
		}
		if rnd.IntN(2) == 0 {
			err := s.d.PutMessageContext(ctx, soakMessage(typ, p, n))
			if errors.Is(err, dispatcher.ErrClosed) {
				return
			}
			n++
			continue
		}
		var batch []dispatcher.Message
		for i := range min(1+rnd.IntN(100), soakMessages-n) {
			batch = append(batch, soakMessage(typ, p, n+i))
		}
		got, err := s.d.PutMessages(ctx, batch)
		if errors.Is(err, dispatcher.ErrClosed) {
			n += got
			return
		}
		n += len(batch)
	}
}

// churn registers and deregisters, and checks the accounts of types, which
// balance at every instant.
func (s *soaker) churn(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		typ := fmt.Sprintf("type%d", i%soakTypes)
		policy := []dispatcher.Policy{dispatcher.DropNewest, dispatcher.Lossless}[i/soakTypes%2]
		h := dispatcher.NewHandler("churn", typ, func(context.Context, dispatcher.Message) {},
			dispatcher.WithPolicy(policy), dispatcher.WithFilter(i%4 < 2))
		stuck := dispatcher.NewSubscription("churn2", typ, dispatcher.WithPolicy(policy), dispatcher.WithQueue(1))
		if err := s.d.Register(h, stuck); err != nil {
			return
		}
		for typ, ts := range s.d.Stats().Types {
			if ts.Received != ts.Delivered+ts.Duplicate+ts.DroppedTotal()+ts.Unrouted+uint64(ts.Queued) {
				s.t.Errorf("%s: %+v", typ, ts)
			}
		}
		if err := s.d.Deregister(stuck, h); err != nil {
			s.t.Error(err)
		}
	}
}

// check compares what was sent with what lossless subscribers got.
func (s *soaker) check() {
	for i, o := range s.orders {
		if !o.lossless {
			continue
		}
		if o.next != s.sent[s.types[i]] {
			s.t.Errorf("%s: got up to %v of %v", o.name, o.next, s.sent[s.types[i]])
		}
	}
	for _, sub := range s.d.Stats().Subscribers {
		refuses := strings.Contains(sub.Name, "external/drop")
		if sub.Policy == dispatcher.Lossless && sub.DroppedTotal() > 0 && !refuses {
			s.t.Errorf("%v lost: %+v", sub.ID, sub)
		}
	}
	if n := s.d.Stats().Total.Queued; n != 0 {
		s.t.Errorf("%d still queued", n)
	}
}
