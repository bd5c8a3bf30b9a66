package peers

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/peer"
)

// refuseWith is a Connect that the other side refuses.
func refuseWith(r handshake.Reason) func(*fixture, context.Context, peer.AddrInfo) error {
	return func(*fixture, context.Context, peer.AddrInfo) error {
		return fmt.Errorf("connect: %w", &handshake.RefusedError{Reason: r, ByRemote: true})
	}
}

// A boot node that is away for a day is dialled all day, with all its
// addresses each time, and never with less than one attempt in the longest
// wait.
func TestPersistentForEver(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe, "/ip4/192.0.2.1/tcp/1"), RoleStatic)
		fx.Name(info(zoe, "/dns4/boot.example.org/tcp/1"), RoleStatic)
		time.Sleep(24 * time.Hour)
		got := fx.dials(zoe)
		last := time.Duration(0)
		for i, a := range got {
			if wait := a.at - last; wait > backoffSoon.max || i > 1 && wait < backoffSoon.floor {
				t.Fatalf("attempt %d came after %v", i, wait)
			}
			last = a.at
			if i > 0 && len(a.ai.Addrs) != 2 {
				t.Fatalf("attempt %d has %d addresses", i, len(a.ai.Addrs))
			}
		}
		if len(got) < int(24*time.Hour/backoffSoon.max) || 24*time.Hour-last > backoffSoon.max {
			t.Errorf("%d attempts, the last at %v", len(got), last)
		}
	})
}

// What nobody could ever reach is forgotten after some attempts, more and more
// rare, if it is not this node's own network that is away.
func TestOrdinaryIsForgotten(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		fx.learn(at(zoe))
		time.Sleep(time.Hour)
		if got := len(fx.dials(zoe)); got < 20 || fx.book.Get(zoe) == nil {
			t.Errorf("%d attempts in an hour without any session; still known: %v", got, fx.book.Get(zoe) != nil)
		}
		fx.accept(alice, 1) // the network is there
		n := len(fx.dials(zoe))
		time.Sleep(12 * time.Hour)
		// The eighth is the last, but for what is due before the book is looked through.
		if got := len(fx.dials(zoe)) - n; got < 8 || got > 10 || fx.book.Get(zoe) != nil {
			t.Errorf("%d attempts, want 8 to 10; still known: %v", got, fx.book.Get(zoe) != nil)
		}
	})
}

// How often a persistent and an ordinary peer are dialled in three hours when
// each attempt ends for a reason.
func TestDialsByReason(t *testing.T) {
	tests := []struct {
		reason        handshake.Reason
		persistentMin int
		persistentMax int
		ordinaryMin   int
		ordinaryMax   int
		forgotten     bool
	}{
		{handshake.ReasonTooManyPeers, 15, 60, 5, 60, false},
		{handshake.ReasonNotNebnet, 15, 60, 1, 1, true},
		{handshake.ReasonBanned, 3, 20, 3, 20, false},
		{handshake.ReasonWrongChain, 2, 15, 1, 1, true},
		{handshake.ReasonWrongGenesis, 2, 15, 1, 1, true},
		{handshake.ReasonWrongVersion, 2, 15, 1, 1, true},
		{handshake.ReasonSelf, 2, 15, 1, 1, true}, // the peer says so: it may err
		{handshake.ReasonShuttingDown, 360, 10000, 8, 30, false},
	}
	for _, tt := range tests {
		t.Run(tt.reason.Label(), func(t *testing.T) {
			play(t, Config{}, refuseWith(tt.reason), func(t *testing.T, fx *fixture) {
				fx.Name(info(zoe), RoleStatic)
				fx.learn(at(alice))
				time.Sleep(time.Second)
				if v := fx.learn(at(alice)); (v == book.Useless) != tt.forgotten {
					t.Errorf("told of it again: %v", v)
				}
				if allowed := fx.AllowDial(alice); allowed == tt.reason.Permanent() {
					t.Errorf("AllowDial: %v", allowed)
				}
				time.Sleep(3 * time.Hour)
				if got := len(fx.dials(zoe)); got < tt.persistentMin || got > tt.persistentMax {
					t.Errorf("persistent: %d attempts, want %d to %d", got, tt.persistentMin, tt.persistentMax)
				}
				if got := len(fx.dials(alice)); got < tt.ordinaryMin || got > tt.ordinaryMax {
					t.Errorf("ordinary: %d attempts, want %d to %d", got, tt.ordinaryMin, tt.ordinaryMax)
				}
			})
		})
	}
}

func TestSessionLostIsRedialled(t *testing.T) {
	play(t, Config{}, succeed, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe), RoleStatic)
		fx.learn(at(alice))
		for round := range 20 {
			time.Sleep(time.Hour) // long enough to end the row of failures
			for _, p := range []peer.ID{zoe, alice} {
				if got := len(fx.dials(p)); got != round+1 {
					t.Fatalf("round %d: %d attempts", round, got)
				}
				fx.admission(p).Release(handshake.ReasonTransportLost, false)
			}
			time.Sleep(backoffOther.base)
			if got := fx.live(); got != 2 {
				t.Fatalf("round %d: %d sessions 4 s after the loss", round, got)
			}
		}
	})
}

// Sessions that end at once are a row of failures, so that the two do not
// reconnect every second for ever.
func TestShortSessionsBackOff(t *testing.T) {
	flap := func(fx *fixture, ctx context.Context, ai peer.AddrInfo) error {
		err := succeed(fx, ctx, ai)
		time.AfterFunc(time.Second, func() { fx.admission(ai.ID).Release(handshake.ReasonTransportLost, false) })
		return err
	}
	play(t, Config{}, flap, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe), RoleStatic)
		time.Sleep(time.Hour)
		if got := len(fx.dials(zoe)); got > 400 || got < 120 {
			t.Errorf("%d attempts in an hour", got)
		}
	})
}

// A peer that came by itself is not dialled, and when it leaves it is.
func TestInboundSessionStandsForADial(t *testing.T) {
	play(t, Config{}, succeed, func(t *testing.T, fx *fixture) {
		tk := fx.accept(zoe, 1)
		fx.Name(info(zoe), RoleStatic)
		fx.learn(at(zoe))
		time.Sleep(time.Hour)
		if got := len(fx.dials(zoe)); got != 0 {
			t.Errorf("%d attempts beside a session", got)
		}
		tk.Release(handshake.ReasonTransportLost, false)
		time.Sleep(backoffSoon.base)
		if got := len(fx.dials(zoe)); got != 1 {
			t.Errorf("%d attempts after it ended", got)
		}
	})
}

// A dial that fails because the other side's handshake wins leaves the next
// dial to the end of that handshake.
func TestDialLosesCrossing(t *testing.T) {
	lose := func(fx *fixture, ctx context.Context, ai peer.AddrInfo) error {
		tk, r := fx.Admit(ai.ID, dirOut, 0, nil)
		if r != none {
			return r
		}
		other, r := fx.Admit(ai.ID, dirIn, 1, nil) // alice is smaller: hers wins
		if r != none {
			fx.t.Errorf("crossing hello of the smaller peer: %v", r)
			return r
		}
		err := &handshake.RefusedError{Reason: alreadyConnected, ByRemote: true}
		tk.Abort(err)
		time.AfterFunc(5*time.Second, func() { other.Release(handshake.ReasonTimeout, false) })
		return err
	}
	play(t, Config{}, lose, func(t *testing.T, fx *fixture) {
		fx.Name(info(alice), RoleStatic)
		time.Sleep(5*time.Second - 1)
		if got := len(fx.dials(alice)); got != 1 {
			t.Errorf("%d attempts while the winner is under way", got)
		}
		time.Sleep(backoffLonely.base + 1)
		if got := len(fx.dials(alice)); got != 2 {
			t.Errorf("%d attempts after the winner failed", got)
		}
	})
}

func TestDialsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	hang := func(_ *fixture, ctx context.Context, _ peer.AddrInfo) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		<-ctx.Done()
		return ctx.Err()
	}
	play(t, Config{MaxDials: 3, MaxPeers: 1000, Outbound: 200}, hang, func(t *testing.T, fx *fixture) {
		for i := range 100 {
			fx.learn(at(peerN(i)))
		}
		tried := func() int {
			fx.seen.Lock()
			defer fx.seen.Unlock()
			set := map[peer.ID]bool{}
			for _, a := range fx.attempts {
				set[a.ai.ID] = true
			}
			return len(set)
		}
		// Of 102 turns drawn blindly 64 would be first ones, 85 are as it is done
		// here, each give or take 3.
		time.Sleep(DefaultDialTimeout*34 + time.Second)
		if n := tried(); n < 72 {
			t.Errorf("only %d of 100 had their turn", n)
		}
		time.Sleep(DefaultDialTimeout * 340)
		if n := tried(); n != 100 {
			t.Errorf("only %d of 100 ever had their turn", n)
		}
		if most.Load() != 3 {
			t.Errorf("%d dials at once, want 3", most.Load())
		}
	})
}

// Dials of peers that are gone, which end with their time-out, keep nobody else waiting:
// after a loss of many the book is full of those.
func TestSlowDialsHoldNoPlace(t *testing.T) {
	gone := make(map[peer.ID]bool)
	hang := func(fx *fixture, ctx context.Context, ai peer.AddrInfo) error {
		if gone[ai.ID] {
			<-ctx.Done()
			return ctx.Err()
		}
		return succeed(fx, ctx, ai)
	}
	play(t, Config{MaxPeers: 8, Outbound: 4}, hang, func(t *testing.T, fx *fixture) {
		for i := range 10 {
			gone[peerN(i)] = i >= 4
		}
		for i := range 10 {
			fx.learn(info(peerN(i), fmt.Sprintf("/ip4/5.%d.0.1/tcp/1", i)))
		}
		time.Sleep(DefaultDialTimeout - time.Second)
		if n := fx.live(); n != 4 {
			t.Errorf("%d peers", n)
		}
		if n := fx.Wanted(); n != 0 {
			t.Errorf("%d more are looked for", n)
		}
	})
}

func TestFullNodeDoesNotDial(t *testing.T) {
	play(t, Config{MaxPeers: 2, InboundShare: 1}, succeed, func(t *testing.T, fx *fixture) {
		first := fx.accept(peerN(1), 1)
		fx.accept(peerN(2), 1)
		fx.Name(info(zoe), RoleStatic)
		fx.learn(at(alice))
		time.Sleep(time.Minute)
		if n := len(fx.dials(zoe)) + len(fx.dials(alice)); n != 0 {
			t.Errorf("%d dials of a full node", n)
		}
		fx.Name(info(peerN(9)), RoleReserved)
		time.Sleep(time.Second)
		if n := len(fx.dials(peerN(9))); n != 1 || fx.live() != 3 {
			t.Errorf("reserved peer: %d dials", n)
		}
		fx.Ban(peerN(9), time.Hour, "test")
		first.Release(handshake.ReasonTransportLost, true)
		time.Sleep(2 * fullWait)
		if n := len(fx.dials(zoe)); n != 1 {
			t.Errorf("persistent peer: %d dials after a slot was free", n)
		}
	})
}

// A target that is put off does not keep those behind it from their turn.
func TestPutOffTargetsDoNotBlock(t *testing.T) {
	play(t, Config{MaxPeers: 1, InboundShare: 1, MaxDials: 1}, succeed, func(t *testing.T, fx *fixture) {
		fx.accept(peerN(1), 1)
		synctest.Wait()
		fx.Manager.mu.Lock() // both are due before the loop looks
		fx.nameLocked(info(zoe), RoleStatic)
		fx.nameLocked(info(alice), RoleReserved)
		fx.Manager.mu.Unlock()
		fx.kick()
		if got := len(fx.dials(alice)); got != 1 {
			t.Errorf("%d dials at once of the reserved peer behind one that has no room", got)
		}
	})
}

// A flood of names leaves a boot node its place.
func TestBookIsBounded(t *testing.T) {
	hang := func(_ *fixture, ctx context.Context, _ peer.AddrInfo) error { <-ctx.Done(); return ctx.Err() }
	play(t, Config{}, hang, func(t *testing.T, fx *fixture) {
		for i := range 2 * book.MaxPeers {
			fx.Learn(book.Told{Peer: at(peerN(i)), Source: book.FromExchange, Teller: peerN(i / 100)})
		}
		if r := fx.Name(info(zoe), RoleStatic); r != none {
			t.Errorf("a boot node has no place: %v", r)
		}
		synctest.Wait()
		if n := fx.book.Len(); n > book.MaxPeers+1 || fx.book.Get(zoe) == nil {
			t.Errorf("%d peers are known", n)
		}
	})
}

func TestDialAnswers(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		if r := fx.Name(info(self), RoleStatic); r != handshake.ReasonSelf {
			t.Errorf("self: %v", r)
		}
		if v := fx.learn(at(self)); v != book.Useless {
			t.Errorf("self: %v", v)
		}
		fx.Ban(zoe, time.Hour, "test")
		fx.learn(at(zoe))
		fx.seen.Lock()
		fx.avoidLocked(alice, time.Hour, handshake.ReasonTooManyPeers)
		fx.seen.Unlock()
		if v := fx.learn(at(alice)); v != book.Useless {
			t.Errorf("avoided: %v", v)
		}
		fx.Forgive(alice)
		if v := fx.learn(at(alice)); v != book.Added {
			t.Errorf("forgiven: %v", v)
		}
		time.Sleep(time.Minute)
		if len(fx.dials(zoe)) != 0 || len(fx.dials(alice)) == 0 {
			t.Errorf("%d dials of a banned peer, %d of a forgiven one", len(fx.dials(zoe)), len(fx.dials(alice)))
		}
		fx.Close()
		if v := fx.learn(at(peerN(1))); v != book.Useless {
			t.Errorf("closed: %v", v)
		}
	})
}

func TestUnname(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe), RoleStatic)
		time.Sleep(time.Minute)
		fx.Unname(zoe, RoleStatic)
		n := len(fx.dials(zoe))
		time.Sleep(time.Hour)
		if got := len(fx.dials(zoe)); got != n {
			t.Errorf("%d attempts after removal", got-n)
		}
	})
}

// Close cancels dials with the reason and waits for them.
func TestCloseEndsDials(t *testing.T) {
	var cause atomic.Value
	hang := func(_ *fixture, ctx context.Context, _ peer.AddrInfo) error {
		<-ctx.Done()
		time.Sleep(time.Second)
		cause.Store(context.Cause(ctx))
		return ctx.Err()
	}
	play(t, Config{}, hang, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe), RoleStatic)
		synctest.Wait()
		fx.Close()
		if got, _ := cause.Load().(error); !errors.Is(got, handshake.ReasonShuttingDown) {
			t.Errorf("dial ended with cause %v", got)
		}
		fx.Close()
		fx.Start()
		time.Sleep(time.Hour)
		if got := len(fx.dials(zoe)); got != 1 {
			t.Errorf("%d dials", got)
		}
	})
}
