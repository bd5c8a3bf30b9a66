package p2phost_test

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// lab is a network in virtual time with one host of ours, the victim, and
// attackers that know no limits.
type lab struct {
	t      *testing.T
	net    *testnet.Net
	victim host.Host
	obs    *obs.Obs
}

const latency = 20 * time.Millisecond

// bubble runs f in a bubble of its own.
func bubble(t *testing.T, change func(*p2phost.Config), f func(*testing.T, *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, net: testnet.New(1, testnet.WithLink(testnet.Link{Latency: latency})), obs: obs.Discard()}
		l.victim = l.ours(public(0), change)
		echo(l.victim)
		f(t, l)
	})
}

// public returns address i of many, each in a /24 of its own.
func public(i int) netip.Addr { return netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1}) }

func (l *lab) ours(ip netip.Addr, change func(*p2phost.Config)) host.Host {
	l.t.Helper()
	c := config(l.t, testnet.Multiaddr(ip).String())
	c.SkipSockets = true
	c.Obs = l.obs
	c.Options = append(c.Options, libp2p.Transport(l.net.Transport(ip)))
	if change != nil {
		change(&c)
	}
	return start(l.t, c)
}

// noMetrics keeps plain hosts out of the process-wide registry, which a test
// looks at.
var noMetrics = libp2p.ChainOptions(libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics())

// attacker dials the victim from ip, with a key of its own or a given one.
func (l *lab) attacker(ip netip.Addr, key crypto.PrivKey) host.Host {
	l.t.Helper()
	if key == nil {
		c := config(l.t)
		key = c.Key
	}
	h, err := libp2p.New(
		libp2p.NoListenAddrs, libp2p.Transport(l.net.Transport(ip)), libp2p.Identity(key), noMetrics,
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { h.Close() })
	return h
}

func (l *lab) connect(h host.Host) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	return h.Connect(ctx, testnet.Info(l.victim))
}

// served tells whether an honest peer at ip connects and gets an answer, and
// how long that takes it.
func (l *lab) served(ip netip.Addr) (time.Duration, error) {
	h := l.ours(ip, nil)
	defer h.Close()
	begun := time.Now()
	if err := l.connect(h); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	err := ask(ctx, h, l.victim.ID(), "hello")
	return time.Since(begun), err
}

func (l *lab) mustServe(ip netip.Addr, when string) {
	l.t.Helper()
	if d, err := l.served(ip); err != nil || d > 2*time.Second {
		l.t.Errorf("%s: an honest peer waits %v: %v", when, d, err)
	}
}

func (l *lab) count(name string) int64 { return l.obs.Counter(name).Count() }

// silence opens n raw connections at once that say nothing until the victim
// closes them. wait returns when it has closed them all.
func (l *lab) silence(n int, from func(i int) netip.Addr) (open *atomic.Int64, wait func()) {
	open = new(atomic.Int64)
	var wg, dialled sync.WaitGroup
	for i := range n {
		dialled.Add(1)
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 200 * time.Microsecond) // the accept queue is short
			c, err := l.net.Dial(l.t.Context(), from(i), testnet.Addr(public(0)))
			dialled.Done()
			if err != nil {
				return
			}
			open.Add(1)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
			open.Add(-1)
		})
	}
	dialled.Wait()
	return open, wg.Wait
}
