package netservice_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 63: a peer says hello again on the connection of its session. It is told
// that there is one, and the session goes on as if nothing had been.
func TestHostileSecondHello(t *testing.T) {
	for _, instance := range []uint64{1, 2} {
		for _, age := range []time.Duration{0, time.Second, time.Minute} {
			t.Run(fmt.Sprintf("instance %d after %s", instance, age), func(t *testing.T) {
				besiege(t, nil, func(t *testing.T, s *siege) {
					a := s.session()
					time.Sleep(age)
					h := greeting()
					h.Instance = instance
					if _, err := a.hello(h); !errors.Is(err, netservice.ReasonAlreadyConnected) {
						t.Errorf("second hello: %v", err)
					}
					time.Sleep(5 * time.Second)
					if s.peers(a.ID()) != 1 || s.count("neb.net.peers.disconnected.already_connected") != 0 {
						t.Error("the session has ended")
					}
					a.open("text").Write(frame(4, plain, []byte("here")...))
					if got := next(t, "message", s.texts); got != "here" {
						t.Errorf("got %q", got)
					}
				})
			})
		}
	}
}

// Row 63: two hellos of a peer on one connection, one some time after the other.
// One of them becomes the session, and the other one is refused with the reason.
func TestHostileTwoHellosAtOnce(t *testing.T) {
	for delay := time.Duration(0); delay <= 60*time.Millisecond; delay += 5 * time.Millisecond {
		besiege(t, nil, func(t *testing.T, s *siege) {
			a := s.attacker()
			if err := a.connect(); err != nil {
				t.Fatal(err)
			}
			outcome := make(chan error, 2)
			say := func() {
				st, err := a.hello(greeting())
				if err == nil {
					go s.attend(st, true)
				}
				outcome <- err
			}
			go say()
			time.Sleep(delay)
			go say()
			first, second := next(t, "outcome", outcome), next(t, "outcome", outcome)
			if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), netservice.ReasonAlreadyConnected) {
				t.Errorf("%s: %v and %v", delay, first, second)
			}
			time.Sleep(10 * time.Second)
			if s.peers(a.ID()) != 1 || s.conns() != 1 {
				t.Errorf("%s: %d sessions on %d connections", delay, s.peers(a.ID()), s.conns())
			}
		})
	}
}

// Row 63: both sides say hello on the one connection that there is, the second
// one at any moment of the first one's handshake. They keep one session, the same
// one, and neither loses one on the way to it.
func TestCrossingHellosOnOneConnection(t *testing.T) {
	for _, back := range []time.Duration{10 * time.Millisecond, 60 * time.Millisecond} {
		for delay := time.Duration(0); delay <= 150*time.Millisecond; delay += 5 * time.Millisecond {
			for _, swap := range []bool{false, true} {
				bubble(t, func(t *testing.T) {
					crossHellos(t, back, delay, swap)
				})
			}
		}
	}
}

func crossHellos(t *testing.T, back, delay time.Duration, swap bool) {
	nw := testnet.New(1)
	dialler, other := nw.Node(1), nw.Node(2)
	if swap { // the smaller ID is the other one's
		dialler, other = other, dialler
	}
	nw.SetLink(func(from, _ netip.Addr) testnet.Link {
		if from == dialler {
			return testnet.Link{Latency: 10 * time.Millisecond}
		}
		return testnet.Link{Latency: back}
	})
	nodes := []*onHost{serviceOver(t, nw, dialler), serviceOver(t, nw, other)}
	a, b := nodes[0], nodes[1]
	if err := a.h.Connect(t.Context(), testnet.Info(b.h)); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	outcome := make(chan error, 1)
	time.AfterFunc(delay, func() { outcome <- b.ConnectPeer(t.Context(), testkit.FullAddr(t, a.h)) })
	if err := a.Start(); err != nil { // says hello
		t.Fatal(err)
	}
	if err := next(t, "outcome", outcome); err != nil {
		t.Errorf("back %s, delay %s, swap %v: %v", back, delay, swap, err)
	}
	time.Sleep(30 * time.Second)
	for i, n := range nodes {
		if p := n.Peers(); len(p) != 1 || len(n.h.Network().Conns()) != 1 || len(n.events.Events()) != 1 {
			t.Fatalf("back %s, delay %s, swap %v: node %d has peers %v, %d connections, %d events",
				back, delay, swap, i, p, len(n.h.Network().Conns()), len(n.events.Events()))
		}
	}
	if a.Peers()[0].Direction == b.Peers()[0].Direction {
		t.Errorf("back %s, delay %s, swap %v: both keep a hello of their own", back, delay, swap)
	}
}

// onHost is a service on a host of the test's own.
type onHost struct {
	*netservice.NebService
	h      host.Host
	events *netservice.PeerSubscription
}

func serviceOver(t *testing.T, nw *testnet.Net, ip netip.Addr) *onHost {
	t.Helper()
	h := nw.Host(t, ip, libp2p.ResourceManager(&network.NullResourceManager{}))
	svc, err := netservice.NewNebService(chain(), quiet(), netservice.WithHost(h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { svc.Stop() })
	return &onHost{svc, h, svc.SubscribePeers()}
}
