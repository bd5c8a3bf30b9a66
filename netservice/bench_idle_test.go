package netservice_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// idlePeersEnv makes the test binary a process of so many services.
const idlePeersEnv = "NEBNET_IDLE_PEERS"

const (
	idlePeers   = 200
	typesOfIdle = 10
	idleFor     = 30 * time.Second
)

// BenchmarkIdleCost is what a service costs that has 200 peers over TCP and sends and
// receives nothing of its own. All its parts run as they do by default: pings,
// broadcasting of ten types, peer exchange, identify, the address book. The peers are
// services in a process of their own. Each of them has three peers of its own choice, as
// many as it looks for. cpu-% is of one core; B/min/peer is what goes through the sockets
// both ways, and wire-B/min/peer with the heads of IP and TCP; both are counted on Linux.
//
//	go test -run '^$' -bench IdleCost -benchtime 1x ./netservice
func BenchmarkIdleCost(b *testing.B) {
	hub := benchService(b, netservice.Config{DataDir: b.TempDir(), MaxPeers: idlePeers}, subscribeAll(b))
	peers := testkit.Start(b, testkit.Self(b, []string{idlePeersEnv + "=" + hub.Node().Addrs()[0].String()}))
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	peers.Name = "the peers"
	if err := hub.WaitForPeers(ctx, idlePeers); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Minute) // what happens at the start is over
	for b.Loop() {
		began, cpu, before := time.Now(), bench.CPU(), sockets(b)
		time.Sleep(idleFor)
		took, used, after := time.Since(began), bench.CPU()-cpu, sockets(b)
		if n := len(hub.Peers()); n != idlePeers {
			b.Fatalf("%d peers are left", n)
		}
		b.ReportMetric(100*used.Seconds()/took.Seconds(), "cpu-%")
		each := took.Minutes() * idlePeers
		b.ReportMetric(float64(after.bytes-before.bytes)/each, "B/min/peer")
		b.ReportMetric(float64(after.bytes-before.bytes+tcpHead*(after.segments-before.segments))/each, "wire-B/min/peer")
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
	b.ReportMetric(0, "ns/op")
}

// subscribeAll declares the types.
func subscribeAll(t testing.TB) func(*netservice.NebService) {
	return func(s *netservice.NebService) {
		for i := range typesOfIdle {
			typ := netservice.Declare(fmt.Sprint("type", i), netservice.Raw())
			if _, err := typ.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tcpHead are the heads of IP and TCP, with time stamps.
const tcpHead = 20 + 32

type socketCount struct{ bytes, segments uint64 }

// runIdlePeers is the process of the peers. It ends with its input.
func runIdlePeers(hub string) int {
	var all []*netservice.NebService
	defer func() {
		for _, s := range all {
			_ = s.Stop()
		}
	}()
	for range idlePeers {
		s, err := netservice.NewNebService(netservice.Config{
			ChainID: "bench", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MaxPeers: 12, Bootstrap: []string{hub},
		}, quiet())
		if err == nil {
			subscribeAll(nil)(s)
			err = s.Start()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		all = append(all, s)
	}
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	return 0
}
