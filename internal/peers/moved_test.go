package peers

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// A newer record of a peer comes while its old address is being dialled. The new one is
// dialled as soon as that has failed: the failure says nothing of it. It is so whether the
// peer was dialled before or not, and for a peer to keep.
func TestMovedDuringDial(t *testing.T) {
	const oldAddr, newAddr = "/ip4/10.1.1.1/tcp/1", "/ip4/10.2.2.2/tcp/1"
	for name, c := range map[string]struct {
		before int // dials of the old address that have failed
		keep   bool
	}{"first dial": {}, "fifth dial": {before: 4}, "to keep": {before: 4, keep: true}} {
		t.Run(name, func(t *testing.T) {
			n := 0 // of the dials of zoe, one at a time
			began, fail := make(chan struct{}), make(chan struct{})
			connect := func(_ *fixture, _ context.Context, ai peer.AddrInfo) error {
				if n++; n == c.before+1 {
					began <- struct{}{}
					<-fail
				}
				return errors.New("no route")
			}
			play(t, Config{}, connect, func(t *testing.T, fx *fixture) {
				began, fail = make(chan struct{}), make(chan struct{})
				fx.accept(alice, 1) // so that failures count
				if c.keep {
					fx.Name(info(zoe), RoleStatic)
				}
				fx.Learn(book.Told{Peer: info(zoe, oldAddr), Source: book.FromExchange, Teller: alice, Seq: 5})
				<-began
				if v := fx.Learn(book.Told{Peer: info(zoe, newAddr), Source: book.FromExchange, Teller: alice, Seq: 6}); v != book.Updated {
					t.Fatal(v)
				}
				at := time.Since(fx.start)
				close(fail)
				got := fx.dials(zoe)
				if len(got) != c.before+2 {
					t.Fatalf("%d dials, want %d", len(got), c.before+2)
				}
				last := got[len(got)-1]
				if len(last.ai.Addrs) != 1 || last.ai.Addrs[0].String() != newAddr || last.at != at {
					t.Errorf("dialled %s, %s after the newer record", last.ai.Addrs, last.at-at)
				}
				if fails := fx.Why(zoe).Entry.Fails; fails != 1 {
					t.Errorf("%d failures of the new address", fails)
				}
			})
		})
	}
}

// A peer whose one address has been dialled as often as one may be, on whoever's word,
// waits; another address of it does not, though nothing is known of the peer but that.
func TestAnotherAddressEndsTheWait(t *testing.T) {
	for name, told := range map[string]book.Told{
		"of a newer record": {Source: book.FromExchange, Teller: alice, Seq: 6},
		"of the LAN":        {Source: book.FromLAN},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
				fx.accept(alice, 1)
				fx.Manager.mu.Lock()
				for fx.aims.take(netip.MustParseAddr("10.1.1.1"), time.Now()) {
				}
				fx.Manager.mu.Unlock()
				fx.Learn(book.Told{Peer: info(zoe, "/ip4/10.1.1.1/tcp/1"), Source: book.FromExchange, Teller: alice, Seq: 5})
				synctest.Wait()
				if got := fx.dials(zoe); len(got) != 0 {
					t.Fatalf("%d dials: nothing is tried", len(got))
				}
				if w := fx.Why(zoe); w.Next.IsZero() || !strings.Contains(w.Reason, "12 times an hour") {
					t.Errorf("it is tried at %s: %s", w.Next, w.Reason)
				}
				told.Peer = info(zoe, "/ip4/10.2.2.2/tcp/1")
				fx.Learn(told)
				if got := fx.dials(zoe); len(got) != 1 {
					t.Errorf("%d dials of another address", len(got))
				}
			})
		})
	}
}

// Where another peer answers at the address of one, it is the address that is wrong: the
// peer is not dialled there again soon, whoever repeats it, and is dialled at once where
// its newer record says that it is.
func TestMovedFromWhereAnotherAnswers(t *testing.T) {
	for name, keep := range map[string]bool{"ordinary": false, "to keep": true} {
		t.Run(name, func(t *testing.T) {
			connect := func(*fixture, context.Context, peer.AddrInfo) error {
				return sec.ErrPeerIDMismatch{Expected: zoe, Actual: alice}
			}
			play(t, Config{}, connect, func(t *testing.T, fx *fixture) {
				fx.accept(alice, 1)
				told := book.Told{Peer: info(zoe, "/ip4/10.1.1.1/tcp/1"), Source: book.FromExchange, Teller: alice, Seq: 5}
				fx.Learn(told)
				for range 9 {
					fx.dials(zoe)
					time.Sleep(time.Minute)
					fx.Learn(told)
				}
				if got := len(fx.dials(zoe)); got != 1 {
					t.Fatalf("%d dials where another answers", got)
				}
				if keep {
					fx.Name(info(zoe), RoleStatic)
					fx.dials(zoe)
				}
				before := len(fx.dials(zoe))
				told.Peer, told.Seq = info(zoe, "/ip4/10.2.2.2/tcp/1"), 6
				fx.Learn(told)
				got := fx.dials(zoe)
				if len(got) != before+1 || got[before].ai.Addrs[0].String() != "/ip4/10.2.2.2/tcp/1" {
					t.Errorf("%d dials when the newer record comes, %v", len(got)-before, got)
				}
			})
		})
	}
}
