package netservice_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// BenchmarkInspectorSecond is what one viewer of a page costs a node with 200 peers
// and 20 types each second, the reading of all its counters included: while nobody
// else looks, each request does what the sampler and one viewer do in a second. 10 ms
// are one in a hundred of a core; cpu-ms/s is the processor time of the whole process,
// its garbage collection included, less what it uses while nobody looks.
//
//	go test -run '^$' -bench InspectorSecond ./netservice
func BenchmarkInspectorSecond(b *testing.B) {
	const peers, types = 200, 20
	nw := nettest.New(b)
	var all []*netservice.Type[[]byte]
	for i := range types {
		all = append(all, netservice.Declare(fmt.Sprint("type", i), netservice.Raw()))
	}
	add := func(cfg netservice.Config) *nettest.Node {
		n := nw.Add(cfg, quiet())
		for _, typ := range all {
			if _, err := typ.Subscribe(n.Service(), func(context.Context, netservice.Received[[]byte]) {}); err != nil {
				b.Fatal(err)
			}
		}
		n.Start()
		return n
	}
	cfg := chain()
	cfg.MaxPeers, cfg.InboundShare = 2*peers, 1
	hub := add(cfg)
	s := hub.Service()
	page := s.Inspector()
	for range peers {
		cfg := booted(hub)
		cfg.MaxPeers = 1 // the hub
		add(cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.WaitForPeers(ctx, peers); err != nil {
		b.Fatal(err)
	}
	for _, typ := range all {
		if err := typ.Broadcast(ctx, s, []byte("hello")); err != nil {
			b.Fatal(err)
		}
	}
	// What the services burn while nobody looks does not count.
	time.Sleep(3 * time.Second) // the broadcasts are still passed on
	before := bench.CPU()
	time.Sleep(3 * time.Second)
	idle := (bench.CPU() - before).Seconds() / 3
	for _, path := range []string{"/api/history", "/", "/peers", "/flow", "/requests", "/large", "/tunnels", "/trace", "/events", "/peer?id=" + s.Peers()[0].ID.String()} {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "?")
		b.Run(cmp.Or(name, "overview"), func(b *testing.B) {
			b.ReportAllocs()
			began, before := time.Now(), bench.CPU()
			for b.Loop() {
				rec := httptest.NewRecorder()
				page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
				if rec.Code != http.StatusOK {
					b.Fatal(rec.Code)
				}
			}
			used := (bench.CPU() - before).Seconds() - idle*time.Since(began).Seconds()
			b.ReportMetric(1000*used/float64(b.N), "cpu-ms/s")
		})
	}
}
