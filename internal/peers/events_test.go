package peers

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/peer"
)

// kinds reads what is queued.
func queued(s *Subscription[Event]) []Event {
	var out []Event
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				return out
			}
			out = append(out, e)
		default:
			return out
		}
	}
}

func TestEventsOfASession(t *testing.T) {
	o := obs.Discard()
	play(t, Config{Obs: o}, nil, func(t *testing.T, fx *fixture) {
		all := fx.Subscribe(0, Connected, Disconnected, Banned, Refused)
		usual := fx.Subscribe(0)
		tk := fx.accept(zoe, 1)
		tk.Release(handshake.ReasonPingTimeout, false)
		tk.Release(handshake.ReasonRequested, true) // too late to count
		tk, _ = fx.Admit(zoe, dirIn, 1, nil)
		tk.Abort(&handshake.RefusedError{Reason: handshake.ReasonApplication, ByRemote: true})
		fx.Ban(zoe, 0, "test")
		want := []Event{
			{Kind: Connected, Peer: zoe, Direction: dirIn},
			{Kind: Disconnected, Peer: zoe, Direction: dirIn, Reason: handshake.ReasonPingTimeout},
			{Kind: Refused, Peer: zoe, Direction: dirIn, Reason: handshake.ReasonApplication, ByRemote: true},
			{Kind: Banned, Peer: zoe, Reason: handshake.ReasonBanned},
		}
		check := func(name string, s *Subscription[Event], want []Event) {
			got := queued(s)
			if len(got) != len(want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
			for i, e := range got {
				if e.At.IsZero() || (e.Kind == Banned) == e.Until.IsZero() {
					t.Errorf("%s: times of %+v", name, e)
				}
				e.At, e.Until = want[i].At, want[i].Until
				if e != want[i] {
					t.Errorf("%s: event %d is %+v, want %+v", name, i, e, want[i])
				}
			}
		}
		check("all", all, want)
		check("default", usual, []Event{want[0], want[1], want[3]})
		for name, n := range map[string]int64{
			obs.Disconnected + "ping_timeout": 1, obs.RefusedBy + "application": 1, obs.Bans: 1,
		} {
			if got := o.Counter(name).Count(); got != n {
				t.Errorf("%s is %d, want %d", name, got, n)
			}
		}
	})
}

// A subscription that nobody reads costs its queue, keeps the newest events,
// and says how many it lost.
func TestSlowSubscription(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		slow := fx.Subscribe(4)
		for i := range 10 {
			fx.accept(peerN(i), 1)
		}
		if got := slow.Dropped(); got != 6 {
			t.Errorf("%d dropped, want 6", got)
		}
		for i, e := range queued(slow) {
			if e.Peer != peerN(6+i) {
				t.Errorf("event %d is of %s", i, e.Peer)
			}
		}
	})
}

func TestSubscriptionClose(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		s := fx.Subscribe(0)
		fx.accept(zoe, 1)
		s.Close()
		s.Close()
		if got := queued(s); len(got) != 1 {
			t.Errorf("%d events after Close, want the one that was queued", len(got))
		}
		left := fx.Subscribe(0)
		fx.accept(alice, 1)
		for range left.All() {
			break
		}
		fx.feed.mu.Lock()
		n := len(fx.feed.subs)
		fx.feed.mu.Unlock()
		if n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
		fx.Close()
		if _, ok := <-fx.Subscribe(0).Events(); ok {
			t.Error("a subscription after Close is open")
		}
	})
}

// Every event of a session arrives, in order, while the node is closed under
// the reader.
func TestEventsUntilClose(t *testing.T) {
	play(t, Config{MaxPeers: 200, InboundShare: 1}, nil, func(t *testing.T, fx *fixture) {
		s := fx.Subscribe(1000)
		var got []Event
		var wg sync.WaitGroup
		wg.Go(func() {
			for e := range s.All() {
				got = append(got, e)
			}
		})
		for i := range 100 {
			wg.Go(func() {
				tk := fx.accept(peerN(i), 1)
				if i%2 == 0 {
					tk.Release(handshake.ReasonTransportLost, false)
				}
			})
		}
		synctest.Wait()
		fx.Close()
		wg.Wait()
		state := map[peer.ID]EventKind{}
		for _, e := range got {
			if last, ok := state[e.Peer]; ok == (e.Kind == Connected) || ok && last == e.Kind {
				t.Fatalf("%s: %v out of order", e.Peer, e.Kind)
			}
			state[e.Peer] = e.Kind
		}
		if len(got) != 200 {
			t.Errorf("%d events, want 200", len(got))
		}
	})
}

// Publishing and closing race with readers that take events themselves.
func TestSubscriptionRace(t *testing.T) {
	h := &feed{lost: func() {}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		s := subscribe(h, 1, func(e Event) Event { return e }, nil)
		wg.Go(func() {
			for range s.Events() {
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				h.publish(Event{Kind: Connected})
			}
		})
	}
	for range 1000 {
		subscribe(h, 1, func(e Event) Event { return e }, nil).Close()
	}
	cancel()
	h.close()
	h.close()
	wg.Wait()
}
