package nettest_test

import (
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var text = netservice.Declare("text", netservice.Raw())

// inBubble is synctest.Test. On one processor: under the race detector, timers
// of a bubble that fire on two at once crash the test (golang/go#78156).
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}

func quiet() netservice.Option {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return netservice.WithLogger(log)
}

// pair is two nodes that are peers, of which the second one listens.
func pair(t *testing.T, opts ...nettest.Option) (net *nettest.Network, a, b *nettest.Node, got chan time.Time) {
	t.Helper()
	net = nettest.New(t, opts...)
	a = net.Add(netservice.Config{ChainID: "test"}, quiet())
	b = net.Add(netservice.Config{ChainID: "test", Bootstrap: []string{a.Addr()}}, quiet())
	got = make(chan time.Time, 1000)
	listen(t, b.Service(), got)
	net.Start()
	b.WaitForPeers(1)
	a.WaitForPeers(1)
	return net, a, b, got
}

func listen(t *testing.T, s *netservice.NebService, got chan time.Time) {
	t.Helper()
	_, err := text.Subscribe(s, func(context.Context, netservice.Received[[]byte]) { got <- time.Now() })
	if err != nil {
		t.Error(err)
	}
}

// travel is how long a message takes.
func travel(t *testing.T, from, to *nettest.Node, got chan time.Time, data ...byte) time.Duration {
	t.Helper()
	began := time.Now()
	if err := text.Send(t.Context(), from.Service(), to.ID(), data); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-got:
		return at.Sub(began)
	case <-time.After(time.Minute):
		t.Fatal("a message is lost")
		return 0
	}
}

// The sample of the README and of the package documentation.
func TestSample(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		net := nettest.New(t, nettest.WithLink(nettest.Link{Latency: 50 * time.Millisecond}))
		a := net.Add(netservice.Config{ChainID: "test"}, quiet())
		b := net.Add(netservice.Config{ChainID: "test", Bootstrap: []string{a.Addr()}}, quiet())
		net.Start()
		b.WaitForPeers(1)
		id := a.ID()
		a.Crash()
		time.Sleep(time.Minute)
		if n := len(b.Service().Peers()); n != 0 {
			t.Errorf("%d peers of a network that is gone", n)
		}
		a.Restart()
		b.WaitForPeers(1)
		if a.ID() != id || b.Service().Peers()[0].ID != id {
			t.Error("a node came back as another")
		}
		if len(net.Nodes()) != 2 || net.Nodes()[0] != a {
			t.Error("the nodes are not those that were added")
		}
	})
}

func TestLinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		net, a, b, got := pair(t, nettest.WithSeed(7), nettest.WithLink(nettest.Link{Latency: 50 * time.Millisecond}))
		travel(t, a, b, got, 1) // the first opens the stream
		if d := travel(t, a, b, got, 1); d < 50*time.Millisecond || d > 60*time.Millisecond {
			t.Errorf("%s over a link of 50 ms", d)
		}
		net.SetLink(func(from, to *nettest.Node) nettest.Link {
			if from == a && to == b {
				return nettest.Link{Latency: 200 * time.Millisecond}
			}
			return nettest.Link{Latency: time.Millisecond}
		})
		if d := travel(t, a, b, got, 1); d < 200*time.Millisecond || d > 210*time.Millisecond {
			t.Errorf("%s over a link of 200 ms", d)
		}
		net.SetLink(func(_, _ *nettest.Node) nettest.Link { return nettest.Link{} })
		net.SetBandwidth(a, nettest.Bandwidth{Up: 8 * 100 << 10})
		time.Sleep(time.Second) // what is under way still takes the old link
		if d := travel(t, a, b, got, 1); d > 10*time.Millisecond {
			t.Errorf("%s for one byte over a slow line", d)
		}
		noise := make([]byte, 200<<10)
		rand.NewChaCha8([32]byte{}).Read(noise)
		if d := travel(t, a, b, got, noise...); d < 1900*time.Millisecond || d > 2300*time.Millisecond {
			t.Errorf("%s for 200 KiB at 100 KiB a second", d)
		}
	})
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(net *nettest.Network, a, b *nettest.Node)
	}{
		{"isolate", func(net *nettest.Network, a, b *nettest.Node) { net.Isolate(a) }},
		{"cut one way", func(net *nettest.Network, a, b *nettest.Node) { net.Cut(a, b) }},
		{"cut the other way", func(net *nettest.Network, a, b *nettest.Node) { net.Cut(b, a) }},
		{"partition", func(net *nettest.Network, a, b *nettest.Node) {
			net.Partition([]*nettest.Node{a}, []*nettest.Node{b})
		}},
		{"partition by leaving out", func(net *nettest.Network, a, b *nettest.Node) { net.Partition([]*nettest.Node{b}) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				net, a, b, got := pair(t)
				travel(t, a, b, got, 1)
				tc.do(net, a, b)
				time.Sleep(time.Minute)
				if n := len(a.Service().Peers()) + len(b.Service().Peers()); n != 0 {
					t.Errorf("%d sessions across the fault", n)
				}
				net.Heal()
				a.WaitForPeers(1)
				b.WaitForPeers(1)
				travel(t, a, b, got, 1)
			})
		})
	}
}

// A connection that is reset is made again at once; a killed node's peers hear
// of it at once, those of a crashed one do not.
func TestDeaths(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		net, a, b, got := pair(t)
		lost := b.Service().SubscribePeers(netservice.PeerDisconnected)
		defer lost.Close()
		hears := func(what string, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			select {
			case <-lost.Events():
				if d := time.Since(began); d < least || d > most {
					t.Errorf("%s: heard of after %s", what, d)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s: never heard of", what)
			}
		}
		net.Reset(a, b)
		hears("reset", 0, time.Second)
		b.WaitForPeers(1)
		a.WaitForPeers(1)

		a.Kill()
		hears("kill", 0, time.Second)
		a.Restart()
		b.WaitForPeers(1)

		a.Crash()
		hears("crash", 2*time.Second, 10*time.Second)
		heard := make(chan time.Time, 1)
		a.Restart(func(s *netservice.NebService) { listen(t, s, heard) })
		b.WaitForPeers(1)
		a.WaitForPeers(1)
		travel(t, b, a, heard, 1)

		a.Stop()
		hears("stop", 0, time.Second)
		a.Restart()
		b.WaitForPeers(1)
		a.WaitForPeers(1)
		travel(t, a, b, got, 1)
		if a.IP() == b.IP() {
			t.Error("two nodes have one address")
		}
		net.Stop()
	})
}
