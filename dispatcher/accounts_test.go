package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// The accounts balance after every step of any sequence of puts, reads,
// registrations, evictions and panics; each subscriber has got what its counts
// say, a filtering one nothing twice, and what was lost comes again; in the end
// Stop reports exactly what was lost by it, and leaves nothing running.

const accountTexts = 16 // different messages of a type

// accountSub is a subscriber that takes messages when the test lets it.
type accountSub struct {
	sub      dispatcher.Subscriber
	id       string
	filter   bool
	keyed    bool
	external bool
	wild     bool // its code panics, refuses and ends goroutines
	iterator *dispatcher.Subscription
	ch       chan dispatcher.Message
	let      chan struct{} // a token for each message; closed in the end

	mu  sync.Mutex
	got []string // as handed over and, by an external one, taken
}

// take is what a subscriber's code does with a message.
func (s *accountSub) take(m dispatcher.Message) bool {
	<-s.let
	text := string(m.Data())
	if s.wild && s.external && text[len(text)-1] == '3' {
		return false
	}
	if !s.external {
		s.note(text) // handed over, however badly it ends
	}
	if s.wild && text[len(text)-1] == '5' {
		panic("no")
	}
	if s.wild && text[len(text)-1] == '7' {
		runtime.Goexit()
	}
	if s.external {
		s.note(text)
	}
	return true
}

func (s *accountSub) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, text)
}

func (s *accountSub) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// newAccountSub makes one of 64 kinds.
func newAccountSub(kind, n int) *accountSub {
	policy := dispatcher.Policy(kind % 4)
	s := &accountSub{
		id: fmt.Sprintf("s%d", n), filter: kind&4 != 0, keyed: policy == dispatcher.NewestPerKey, wild: kind&32 != 0,
		let: make(chan struct{}, 1000),
	}
	opts := []dispatcher.SubscriberOption{
		dispatcher.WithFilter(s.filter), dispatcher.WithQueue(1 + kind%5), dispatcher.WithWorkers(1), dispatcher.WithPolicy(policy),
	}
	if s.keyed {
		opts = append(opts, dispatcher.WithKey(func(m dispatcher.Message) string {
			if text := string(m.Data()); s.wild && text[len(text)-1] == '9' {
				panic("no key")
			}
			return string(m.Data()[:1])
		}))
	}
	switch kind >> 3 & 3 {
	case 0:
		s.sub = dispatcher.NewHandler(s.id, "tx", func(_ context.Context, m dispatcher.Message) { s.take(m) }, opts...)
	case 1:
		s.ch = make(chan dispatcher.Message, 1+kind%3)
		s.sub = dispatcher.NewSubscriber(s.id, s.ch, s.filter, "tx", 1, opts...)
	case 2:
		s.iterator = dispatcher.NewSubscription(s.id, "tx", opts...)
		s.sub = s.iterator
	case 3:
		s.external, s.keyed = true, false
		s.sub = &external{id: s.id, typ: "tx", filter: s.filter, deliver: s.take}
	}
	return s
}

// read lets the subscriber take up to n messages.
func (s *accountSub) read(t *testing.T, n int) {
	if s.iterator != nil {
		for m := range some(t, s.iterator) {
			s.note(string(m.Data()))
			if n--; n <= 0 {
				return
			}
		}
		return
	}
	for range n {
		if s.ch == nil {
			select {
			case s.let <- struct{}{}:
			default:
			}
			continue
		}
		select {
		case m := <-s.ch:
			s.note(string(m.Data()))
		default:
		}
		synctest.Wait()
	}
	synctest.Wait()
}

func playAccounts(t *testing.T, ops []byte) {
	d, err := dispatcher.New(dispatcher.Config{StopTimeout: 4 * time.Second}, quiet())
	if err == nil {
		err = d.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var subs []*accountSub // registered
	var all []*accountSub
	ctx, cancel := context.WithCancel(context.Background())
	text := func(op byte) dispatcher.Message {
		return dispatcher.NewMessage("tx", string("abc"[op%3]), fmt.Appendf(nil, "%c%d", "xy"[op>>7], op%accountTexts))
	}
	for ; len(ops) >= 2; ops = ops[2:] {
		op, arg := ops[0], ops[1]
		switch op % 8 {
		case 0:
			s := newAccountSub(int(arg%64), len(all))
			if err := d.Register(s.sub); err != nil {
				continue // DropOldest of a channel without a buffer, say
			}
			subs, all = append(subs, s), append(all, s)
		case 1:
			if len(subs) > 0 {
				i := int(arg) % len(subs)
				if err := d.Deregister(subs[i].sub); err != nil {
					t.Error(err)
				}
				close(subs[i].let)
				subs = slices.Delete(subs, i, i+1)
			}
		case 2:
			go func() { _ = d.PutMessageContext(ctx, text(arg)) }()
		case 3:
			var batch []dispatcher.Message
			for i := range arg % 16 {
				batch = append(batch, text(arg+i*7))
			}
			go func() { _, _ = d.PutMessages(ctx, batch) }()
		case 4, 5:
			_ = d.TryPutMessage(text(arg))
		default:
			if len(subs) > 0 {
				subs[int(arg)%len(subs)].read(t, 1+int(op>>5))
			}
		}
		synctest.Wait()
		checkAccounts(t, d)
	}
	cancel() // those that wait
	synctest.Wait()
	comesAgain(t, d, subs)
	endAccounts(t, d, subs)
}

// comesAgain reads everything, puts every message once more, and then each
// filtering subscriber that loses none for good has it.
func comesAgain(t *testing.T, d *dispatcher.Dispatcher, subs []*accountSub) {
	readAll := func() {
		for range 3 {
			for _, s := range subs {
				s.read(t, 50)
			}
		}
	}
	readAll()
	for _, kind := range "xy" {
		for n := range accountTexts {
			if err := d.PutMessage(dispatcher.NewMessage("tx", "d", fmt.Appendf(nil, "%c%d", kind, n))); err != nil {
				t.Error(err)
			}
			readAll()
		}
	}
	checkAccounts(t, d)
	for _, s := range subs {
		got := s.taken()
		slices.Sort(got)
		if !s.filter || s.wild {
			continue
		}
		if once := slices.Compact(slices.Clone(got)); len(once) != len(got) || len(once) != 2*accountTexts {
			t.Errorf("%s %T: got %d messages, %d of them different, want %d: %v", s.id, s.sub, len(got), len(once), 2*accountTexts, got)
		}
	}
}

func endAccounts(t *testing.T, d *dispatcher.Dispatcher, subs []*accountSub) {
	for i := range 10 { // something to lose
		_ = d.TryPutMessage(dispatcher.NewMessage("tx", "e", fmt.Append(nil, "new", i)))
	}
	synctest.Wait()
	err := d.Stop(context.Background())
	lost, _ := errors.AsType[*dispatcher.UndeliveredError](err)
	if lost == nil {
		lost = new(dispatcher.UndeliveredError)
	}
	for _, s := range subs {
		close(s.let)
	}
	synctest.Wait()
	checkAccounts(t, d)
	var stopped uint64
	for i, s := range d.Stats().Subscribers {
		if s.Queued != 0 {
			t.Errorf("%s: %d still wait", s.Name, s.Queued)
		}
		stopped += s.Dropped[dispatcher.DropStopped]
		want := uint64(len(subs[i].taken()) + len(subs[i].ch))
		if s.Delivered != want {
			t.Errorf("%s: delivered %d, got %d", s.Name, s.Delivered, want)
		}
	}
	if stopped != uint64(lost.Types["tx"]) {
		t.Errorf("Stop reports %d lost, counted are %d: %v; %+v", lost.Types["tx"], stopped, lost, d.Stats().Subscribers)
	}
	if g := goroutines(); len(g) != 0 {
		t.Errorf("left behind: %v", g)
	}
}

func TestAccountsBalance(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		ops := make([]byte, 2*(20+rnd.IntN(100)))
		for i := range ops {
			ops[i] = byte(rnd.Uint32())
		}
		ops[0] = 0 // at least one subscriber
		synctest.Test(t, func(t *testing.T) { playAccounts(t, ops) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("\x00\x05\x04\x01\x04\x02\x03\x0f\x06\x00\x01\x00"))
	f.Add([]byte("\x00\x3f\x00\x1e\x00\x17\x03\xff\x03\x7f\xe6\x01\xe6\x02\x04\x09\x04\x49"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 400 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) { playAccounts(t, ops) })
	})
}
