package p2p

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/stream"
)

// counts are the counters of tunnels that are not zero, and of gauges the one
// of running streams.
func counts(p *P2P) map[string]int64 {
	out := make(map[string]int64)
	p.obs.Registry().Each(func(name string, m any) {
		var n int64
		switch m := m.(type) {
		case metrics.Counter:
			n = m.Count()
		case metrics.Gauge:
			n = m.Value()
		}
		if n != 0 {
			out[name] = n
		}
	})
	return out
}

func wantCounts(t *testing.T, who string, p *P2P, want map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(want, counts(p)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", who, diff)
	}
}

func TestMetricsOfAnExchange(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = io.Copy(io.Discard, c)
			_, _ = c.Write(make([]byte, 3000))
		}))
		for range 2 {
			c := connect(t, at)
			_, _ = c.Write(make([]byte, 1000))
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || len(got) != 3000 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		awaitEmpty(t, dial, serve)
		wantCounts(t, "dialling side", dial, map[string]int64{
			obs.TunnelOpened: 2, obs.TunnelBytesOut: 2000, obs.TunnelBytesIn: 6000,
		})
		wantCounts(t, "serving side", serve, map[string]int64{
			obs.TunnelOpened: 2, obs.TunnelBytesOut: 6000, obs.TunnelBytesIn: 2000,
		})
	})
}

// everySecond is a rule that says yes and no in turn.
func everySecond() TargetRule {
	var asked atomic.Int32
	return func(Target) bool { return asked.Add(1)%2 == 1 }
}

// Each way to fail counts once, under its reason, at each side that knows it.
func TestMetricsOfFailures(t *testing.T) {
	nobody := peer.ID("nobody")
	type n = map[string]int64
	for _, tc := range []struct {
		name        string
		target      func(testing.TB) ma.Multiaddr // nil: no service
		opts        []Option
		fail        func(t *testing.T, dial, serve *P2P, at string)
		dial, serve n
	}{
		{
			"not served", nil, nil,
			func(t *testing.T, _, _ *P2P, at string) { wantRefused(t, at) },
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "not_served": 1}, n{},
		},
		{
			"unreachable", nil, nil,
			func(t *testing.T, dial, _ *P2P, _ string) {
				_, err := dial.DialConn(t.Context(), nobody, web)
				wantErr(t, err, ErrUnreachable)
			},
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "peer": 1}, n{},
		},
		{
			"target refuses", freePort, nil,
			func(t *testing.T, _, _ *P2P, at string) { wantRefused(t, at) },
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "target": 1},
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "target": 1},
		},
		{
			"target denied", echoService, []Option{WithTargetRule(everySecond())}, // when it is dialled
			func(t *testing.T, _, _ *P2P, at string) { wantRefused(t, at) },
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "target": 1},
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "target_denied": 1},
		},
		{
			"not admitted", echoService, []Option{WithAdmit(nobody)},
			func(t *testing.T, _, _ *P2P, at string) { wantRefused(t, at) },
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "not_admitted": 1},
			n{obs.TunnelRefused + "not_admitted": 1},
		},
		{
			"rule panics", echoService, []Option{WithAdmitFunc(func(peer.ID) bool { panic("rule") })},
			func(t *testing.T, _, _ *P2P, at string) { wantRefused(t, at) },
			n{obs.TunnelOpened: 1, obs.TunnelFailed + "not_admitted": 1},
			n{obs.TunnelRefused + "not_admitted": 1, obs.TunnelPanics: 1},
		},
		{
			"limit", echoService, []Option{WithMaxStreams(1)},
			func(t *testing.T, _, _ *P2P, at string) {
				c := connect(t, at)
				mustEcho(t, c, "x")
				wantRefused(t, at)
				_ = c.Close()
			},
			n{obs.TunnelOpened: 2, obs.TunnelBytesOut: 1, obs.TunnelBytesIn: 1, obs.TunnelFailed + "limit": 1},
			n{obs.TunnelOpened: 1, obs.TunnelBytesOut: 1, obs.TunnelBytesIn: 1, obs.TunnelRefused + "limit": 1},
		},
		{
			"closed", echoService, nil,
			func(t *testing.T, _, serve *P2P, at string) {
				c := connect(t, at)
				mustEcho(t, c, "x")
				serve.Streams.Close(stream.All())
				wantReset(t, c)
			},
			n{obs.TunnelOpened: 1, obs.TunnelBytesOut: 1, obs.TunnelBytesIn: 1, obs.TunnelFailed + "other": 1},
			n{obs.TunnelOpened: 1, obs.TunnelBytesOut: 1, obs.TunnelBytesIn: 1, obs.TunnelFailed + "closed": 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, dial, serve *P2P) {
				if tc.target != nil {
					if _, err := serve.NewListener(t.Context(), web, tc.target(t), tc.opts...); err != nil {
						t.Fatal(err)
					}
				}
				tc.fail(t, dial, serve, bind(t, dial, serve.self))
				awaitCount(t, dial, 0)
				awaitCount(t, serve, 0)
				wantCounts(t, "dialling side", dial, tc.dial)
				wantCounts(t, "serving side", serve, tc.serve)
			})
		})
	}
}

func TestVirtualMetricsOfTimeouts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn), WithIdleTimeout(time.Minute))
		mustEcho(t, w.connect(at), "x")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		wantCounts(t, "serving side", w.serve, map[string]int64{
			obs.TunnelOpened: 1, obs.TunnelBytesIn: 1, obs.TunnelBytesOut: 1, obs.TunnelFailed + "idle": 1,
		})
	})
	inWorld(t, func(t *testing.T, w *world) {
		w.serve.host.SetStreamHandler(web, func(s network.Stream) { _ = s.Close() })
		l, err := w.dial.Dial(t.Context(), nil, w.serve.self, web, testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		c := w.connect(l.Listen)
		for err == nil {
			_, err = c.Write(make([]byte, 64<<10))
		}
		synctest.Wait()
		if got := counts(w.dial); got[obs.TunnelFailed+"stalled"] != 1 || got[obs.TunnelOpened] != 1 {
			t.Errorf("counted %v", got)
		}
	})
}
