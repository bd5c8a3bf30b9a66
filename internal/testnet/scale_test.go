package testnet

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
)

// TestScale runs a net of 100 full hosts, limits included. With
// TESTNET_HOSTS=1000 it runs as many as that:
//
//	TESTNET_HOSTS=1000 go test -run TestScale -v ./internal/testnet/
//
// Two cores do 1,000 in well under a minute, with -race in a few.
func TestScale(t *testing.T) {
	size := 100
	if s := os.Getenv("TESTNET_HOSTS"); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil {
			t.Fatalf("TESTNET_HOSTS: %v", err)
		}
	}
	if testing.Short() {
		size = min(size, 20)
	}
	synctest.Test(t, func(t *testing.T) {
		n := New(1,
			WithLink(Link{Latency: 25 * time.Millisecond, Jitter: 5 * time.Millisecond}),
			WithBandwidth(Bandwidth{Up: 20_000_000, Down: 20_000_000}))
		hosts := make([]host.Host, size)
		for i := range hosts {
			h, err := n.NewHost(n.Node(i))
			if err != nil {
				t.Fatal(err)
			}
			hosts[i] = h
		}
		f := newFlood(hosts)
		r := rand.New(rand.NewPCG(7, 7))
		var wg sync.WaitGroup
		for i, h := range hosts {
			for _, j := range []int{(i + 1) % size, r.IntN(size), r.IntN(size)} {
				if i != j {
					wg.Go(func() {
						if err := h.Connect(t.Context(), Info(hosts[j])); err != nil {
							t.Errorf("connect %d to %d: %v", i, j, err)
						}
					})
				}
			}
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		f.start(0)
		time.Sleep(time.Minute)
		if got := len(f.times()); got != size {
			t.Errorf("the flood reached %d of %d hosts", got, size)
		}
		s := n.TotalStats()
		t.Logf("%d hosts, %d connections, %d bytes", size, s.Dials, s.Sent)
		for _, h := range hosts {
			wg.Go(func() { h.Close() })
		}
		wg.Wait()
		if got := n.TotalStats().Conns; got != 0 {
			t.Errorf("%d connections left", got)
		}
	})
}
