package peers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func TestConfig(t *testing.T) {
	_, err := New(Config{MaxPeers: -1, InboundShare: 2})
	if err == nil || len(err.(interface{ Unwrap() []error }).Unwrap()) != 4 {
		t.Errorf("errors: %v", err)
	}
	for share, want := range map[float64]int{0: 8, 0.5: 5, 1: 10, -1: 0, 0.01: 1} {
		c, err := Config{Self: self, MaxPeers: 10, InboundShare: share, Connect: func(context.Context, peer.AddrInfo) error { return nil }}.withDefaults()
		if err != nil || c.limits().maxInbound() != want {
			t.Errorf("share %v: %d inbound, want %d (%v)", share, c.limits().maxInbound(), want, err)
		}
	}
}

func TestMaximum(t *testing.T) {
	o := obs.Discard()
	play(t, Config{MaxPeers: 4, InboundShare: 0.5, Obs: o}, nil, func(t *testing.T, fx *fixture) {
		fx.accept(peerN(1), 1)
		// Who has not finished its handshake has no slot, and whoever is faster has.
		pending, _ := fx.Admit(peerN(2), dirIn, 1, nil)
		fx.accept(peerN(7), 1)
		if _, r := fx.Admit(peerN(3), dirIn, 1, nil); r != handshake.ReasonTooManyPeers {
			t.Errorf("third inbound: %v", r)
		}
		if r := fx.commit(pending); r != handshake.ReasonTooManyPeers {
			t.Errorf("a slow third inbound: %v", r)
		}
		for i := 4; i < 6; i++ {
			tk, r := fx.Admit(peerN(i), dirOut, 0, nil)
			if r != none || tk.Confirm(1) != none || fx.commit(tk) != none {
				t.Fatalf("outbound %d: %v", i, r)
			}
		}
		if _, r := fx.Admit(peerN(6), dirOut, 0, nil); r != handshake.ReasonTooManyPeers {
			t.Errorf("fifth peer: %v", r)
		}
		fx.name(info(zoe), RoleReserved)
		fx.accept(zoe, 1)
		for name, want := range map[string]int64{obs.Sessions: 5, obs.SessionsInbound: 3, obs.SessionsOutbound: 2} {
			if got := o.Gauge(name).Value(); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		fx.admission(peerN(7)).Release(handshake.ReasonTransportLost, true)
		fx.admission(peerN(4)).Release(handshake.ReasonTransportLost, true)
		if _, r := fx.Admit(peerN(3), dirIn, 1, nil); r != handshake.ReasonTooManyPeers {
			t.Errorf("reserved peers count, so the inbound share is full: %v", r)
		}
		fx.admission(zoe).Release(handshake.ReasonTransportLost, true)
		fx.accept(peerN(3), 1)
	})
}

// A peer to keep that dials this node when the inbound slots are taken does not have
// one of those that are for peers of this node's own choice.
func TestKeptPeersLeaveOutboundSlots(t *testing.T) {
	notZoe := func(fx *fixture, ctx context.Context, ai peer.AddrInfo) error {
		if ai.ID == zoe {
			return errors.New("no route")
		}
		return succeed(fx, ctx, ai)
	}
	play(t, Config{MaxPeers: 4, InboundShare: 0.5}, notZoe, func(t *testing.T, fx *fixture) {
		fx.accept(peerN(1), 1)
		fx.accept(peerN(2), 1)
		fx.name(info(zoe), RoleReserved)
		fx.accept(zoe, 1)
		fx.learn(at(peerN(4)), at(peerN(5)), at(peerN(6)))
		time.Sleep(time.Minute)
		if c := fx.Counts(); c.Inbound != 3 || c.Outbound != 2 {
			t.Errorf("%d inbound, %d outbound, want 3 and 2", c.Inbound, c.Outbound)
		}
	})
}

func TestBan(t *testing.T) {
	play(t, Config{}, succeed, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe), RoleStatic)
		time.Sleep(time.Second)
		fx.Ban(zoe, time.Hour, "test")
		if r := fx.closedFor(zoe); r != handshake.ReasonBanned {
			t.Errorf("session was closed for %v", r)
		}
		fx.admission(zoe).Release(handshake.ReasonTransportLost, false) // as the session says when it is down
		if _, r := fx.Admit(zoe, dirIn, 1, nil); r != handshake.ReasonBanned {
			t.Errorf("admission: %v", r)
		}
		if fx.AllowDial(zoe) || fx.AllowPeer(dirIn, zoe, nil) {
			t.Error("the limiter lets more through")
		}
		fx.Ban(zoe, time.Second, "test") // does not shorten the first
		time.Sleep(time.Hour - 2*time.Second)
		if len(fx.dials(zoe)) != 1 || fx.live() != 0 {
			t.Error("dialled while banned")
		}
		time.Sleep(3 * time.Second)
		if fx.live() != 1 || !fx.AllowPeer(dirIn, zoe, nil) {
			t.Error("a persistent peer does not come back after its ban")
		}
		fx.Ban(zoe, 24*time.Hour, "test")
		fx.Unban(zoe)
		time.Sleep(time.Second)
		if fx.live() != 1 {
			t.Error("not back after Unban")
		}
	})
}

func TestPenalise(t *testing.T) {
	play(t, Config{}, succeed, func(t *testing.T, fx *fixture) {
		fx.accept(zoe, 1)
		fx.Penalise(zoe, 60)
		fx.Penalise(zoe, -1000)
		time.Sleep(scoreHalfLife)
		fx.Penalise(zoe, 60)
		if got := fx.penalties(zoe); got < 89 || got > 91 {
			t.Errorf("score %v, want 90", got)
		}
		if _, banned := fx.Banned(zoe); banned {
			t.Fatal("banned below the threshold")
		}
		fx.Penalise(zoe, 10)
		if until, banned := fx.Banned(zoe); !banned || time.Until(until) != DefaultBanDuration {
			t.Errorf("banned %v until %v", banned, until)
		}
		if r := fx.closedFor(zoe); r != handshake.ReasonBanned {
			t.Errorf("session was closed for %v", r)
		}
		fx.name(info(alice), RoleReserved) // and connects with it
		fx.Penalise(alice, 1000)
		if _, banned := fx.Banned(alice); banned || fx.closedFor(alice) != handshake.ReasonProtocol {
			t.Errorf("reserved peer: banned %v, closed for %v", banned, fx.closedFor(alice))
		}
	})
}

func TestReplacement(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		s := fx.Subscribe(0)
		old := fx.accept(zoe, 1)
		if _, r := fx.Admit(zoe, dirIn, 1, nil); r != alreadyConnected {
			t.Errorf("a second hello of the same instance: %v", r)
		}
		fx.accept(zoe, 2) // restarted
		if fx.closedFor(zoe) != handshake.ReasonReplaced {
			t.Errorf("the old session was closed for %v", fx.closedFor(zoe))
		}
		old.Release(handshake.ReasonTransportLost, false) // must not touch the new one
		if got := fx.live(); got != 1 {
			t.Fatalf("%d sessions", got)
		}
		time.Sleep(handshake.DefaultTimeout + 1)
		fx.accept(zoe, 2) // it has lost its side
		want := []EventKind{Connected, Disconnected, Connected, Disconnected, Connected}
		for i, e := range queued(s) {
			if i >= len(want) || e.Kind != want[i] {
				t.Errorf("event %d is %v", i, e.Kind)
			}
		}
	})
}

func TestAdmissionLosesItsPlace(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		first, _ := fx.Admit(zoe, dirIn, 1, nil)
		second, r := fx.Admit(zoe, dirIn, 2, nil)
		if r != none {
			t.Fatal(r)
		}
		if r := first.Commit(nil, func() {}); r != alreadyConnected {
			t.Errorf("superseded admission: %v", r)
		}
		fx.Ban(zoe, 0, "test")
		if r := second.Commit(nil, func() {}); r != handshake.ReasonBanned {
			t.Errorf("admission of a banned peer: %v", r)
		}
		out, _ := fx.Admit(alice, dirOut, 0, nil)
		in, _ := fx.Admit(alice, dirIn, 1, nil)
		if r := fx.commit(in); r != none {
			t.Fatal(r)
		}
		if r := out.Confirm(1); r != alreadyConnected {
			t.Errorf("outbound after inbound: %v", r)
		}
		if r := out.Commit(nil, func() {}); r != alreadyConnected {
			t.Errorf("outbound after inbound: %v", r)
		}
		out.Abort(alreadyConnected)
		if got := fx.live(); got != 1 {
			t.Errorf("%d sessions", got)
		}
	})
}

// A peer of another chain that calls is remembered and not dialled.
func TestNoteRefused(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		fx.NoteRefused(zoe, dirIn, &handshake.RefusedError{Reason: handshake.ReasonWrongChain})
		if r, ok := fx.avoiding(zoe); !ok || r != handshake.ReasonWrongChain || fx.AllowDial(zoe) {
			t.Errorf("avoided %v for %v", ok, r)
		}
		fx.NoteRefused(alice, dirIn, &handshake.RefusedError{Reason: handshake.ReasonApplication})
		if _, ok := fx.avoiding(alice); ok {
			t.Error("one that may be welcome later is avoided")
		}
		time.Sleep(backoffPermanent.max + 2*sweepEvery)
		if !fx.AllowDial(zoe) || fx.stateSize() != 0 {
			t.Errorf("%d entries are left", fx.stateSize())
		}
	})
}

func TestCloseEndsSessions(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		s := fx.Subscribe(0)
		fx.accept(zoe, 1)
		pending, _ := fx.Admit(alice, dirIn, 1, nil)
		fx.Close()
		if r := fx.closedFor(zoe); r != handshake.ReasonShuttingDown {
			t.Errorf("closed for %v", r)
		}
		if r := pending.Commit(nil, func() {}); r != handshake.ReasonShuttingDown {
			t.Errorf("commit after Close: %v", r)
		}
		if _, r := fx.Admit(peerN(1), dirIn, 1, nil); r != handshake.ReasonShuttingDown {
			t.Errorf("admit after Close: %v", r)
		}
		got := queued(s)
		if len(got) != 2 || got[1].Kind != Disconnected || got[1].Reason != handshake.ReasonShuttingDown {
			t.Errorf("events %v", got)
		}
		if n := fx.stateSize() - 2; n != 0 { // the hellos that were counted
			t.Errorf("%d entries are left", n)
		}
	})
}

// Churn of 20,000 peers from as many addresses, in every way a session or a
// handshake can end, leaves nothing behind.
func TestChurnLeavesNothing(t *testing.T) {
	play(t, Config{MaxPeers: 100}, nil, func(t *testing.T, fx *fixture) {
		for i := range 20_000 {
			p := peerN(i)
			addr := ma.StringCast(fmt.Sprintf("/ip4/10.%d.%d.%d/tcp/1", i>>16, i>>8&255, i&255))
			fx.AllowAccept(addr)
			fx.NoteCrowded(p, addr)
			tk, r := fx.Admit(p, dirIn, uint64(i), nil)
			if r != none {
				t.Fatalf("peer %d: %v", i, r)
			}
			switch i % 5 {
			case 0:
				tk.Abort(handshake.ReasonTimeout)
			case 1:
				tk.Commit(nil, func() {})
				tk.Release(handshake.ReasonTransportLost, true)
			case 2:
				tk.Commit(nil, func() {})
				fx.Penalise(p, 10)
				tk.Release(handshake.ReasonProtocol, false)
			case 3:
				tk.Commit(nil, func() {})
				fx.Ban(p, time.Minute, "test")
			case 4:
				tk.Abort(&handshake.RefusedError{Reason: handshake.ReasonWrongChain})
			}
			if i%100 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		if n, most := fx.stateSize(), book.MaxBans+maxAvoided+maxScores+maxExcess+3*maxBuckets; n > most {
			t.Errorf("%d entries, more than the caps together", n)
		}
		time.Sleep(backoffPermanent.max + 10*sweepEvery)
		if n := fx.stateSize(); n != 0 || fx.inbound != 0 || fx.outbound != 0 || fx.liveIn != 0 {
			t.Errorf("%d entries are left, counts %d %d %d", n, fx.inbound, fx.outbound, fx.liveIn)
		}
	})
}

// A peer may say hello at a rate; a reserved one as it likes.
func TestHellosAreLimited(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		fx.name(info(alice), RoleReserved)
		flood := func(p peer.ID) (in int) {
			for i := range 100 {
				tk, r := fx.Admit(p, dirIn, uint64(i+1), nil)
				if r == none {
					in++
					tk.Abort(handshake.ReasonTimeout)
				} else if r != handshake.ReasonRateLimited {
					t.Errorf("refused for %v", r)
				}
			}
			return in
		}
		if n := flood(zoe); n != int(helloRate.Burst) {
			t.Errorf("%d hellos at once", n)
		}
		time.Sleep(10 * time.Second)
		if n := flood(zoe); n != 5 {
			t.Errorf("%d hellos after 10 s", n)
		}
		if n := flood(alice); n != 100 {
			t.Errorf("%d hellos of a reserved peer", n)
		}
	})
}

func TestAttemptsAreLimited(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		flood := func(format string, n int) (allowed int) {
			for i := range n {
				text := format
				if fmt.Sprintf(format, 1) != format+"%!(EXTRA int=1)" {
					text = fmt.Sprintf(format, i%250+1)
				}
				if fx.AllowAccept(ma.StringCast(text)) {
					allowed++
				}
			}
			return allowed
		}
		if got := flood("/ip4/192.0.2.1/tcp/5", 1000); got != int(addrRate.Burst) {
			t.Errorf("one address: %d allowed", got)
		}
		if got := flood("/ip4/192.0.2.%d/tcp/5", 1000); got != int(subnetRate.Burst-addrRate.Burst) {
			t.Errorf("one /24: %d allowed", got)
		}
		if got := flood("/ip4/198.51.100.1/tcp/5", 1); got != 1 {
			t.Error("an honest peer elsewhere is kept out")
		}
		if got := flood("/ip6/2001:db8::%d/tcp/5", 1000); got != int(addrRate.Burst) {
			t.Errorf("one /64: %d allowed", got)
		}
		if got := flood("/ip4/127.0.0.1/tcp/5", 1000); got != 1000 {
			t.Errorf("loopback: %d allowed", got)
		}
		if got := flood("/dns4/relay.example.org/tcp/5", 1); got != 1 {
			t.Error("an address without an IP is kept out")
		}
		time.Sleep(10 * time.Second)
		if got := flood("/ip4/192.0.2.1/tcp/5", 1000); got != 10 {
			t.Errorf("one address after 10 s: %d allowed", got)
		}
	})
}

// A direct session takes the place of one through a relay when it stands, not
// before, and the peer is worth what it was.
func TestDirectSessionReplacesRelayed(t *testing.T) {
	relay := ma.StringCast("/ip4/21.0.0.1/tcp/1/p2p/12D3KooWAHpWw3ab4cdh1iUAjyJPuW23osuy6zJdvkMuPU4Sttxp/p2p-circuit")
	direct := ma.StringCast("/ip4/22.0.0.1/tcp/1")
	for name, dir := range map[string]network.Direction{"answered": dirIn, "opened": dirOut} {
		t.Run(name, func(t *testing.T) {
			play(t, Config{MaxPeers: 4}, nil, func(t *testing.T, fx *fixture) {
				old, _ := fx.Admit(zoe, dirIn, 1, relay)
				if r := fx.commit(old); r != none {
					t.Fatal(r)
				}
				old.Useful(7, 1)
				if _, r := fx.Admit(zoe, dirOut, 0, relay); r != alreadyConnected {
					t.Errorf("a second one through the relay: %v", r)
				}
				tk, r := fx.Admit(zoe, dir, 1, direct)
				if r == none && dir == dirOut {
					r = tk.Confirm(1)
				}
				if r != none || fx.closedFor(zoe) != none || fx.live() != 1 {
					t.Fatalf("before it stands: %v, the old one closed for %v", r, fx.closedFor(zoe))
				}
				if r := fx.commit(tk); r != none || fx.closedFor(zoe) != handshake.ReasonReplaced || fx.live() != 1 {
					t.Fatalf("%v, the old one closed for %v, %d sessions", r, fx.closedFor(zoe), fx.live())
				}
				if v := fx.Why(zoe).Value.Useful; v < 29.9 {
					t.Errorf("useful for %v, want 30", v)
				}
				old.Release(handshake.ReasonReplaced, false)
				if fx.live() != 1 || len(fx.dials(zoe)) != 0 {
					t.Errorf("%d sessions, %d dials after the end of the old one", fx.live(), len(fx.dials(zoe)))
				}
			})
		})
	}
}
