package netservice_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

var slowTCP = flag.Bool("slowline", false, "run TestSlowLineTCP, which takes some 20 s of real time")

// TestSlowLineTCP is TestSlowLine over real TCP, through a forwarder with a rate, a
// latency and small buffers. It takes real time, so it has a command of its own:
//
//	go test ./netservice -run TestSlowLineTCP -slowline -v
func TestSlowLineTCP(t *testing.T) {
	if !*slowTCP {
		t.Skip("takes real time: go test ./netservice -run TestSlowLineTCP -slowline")
	}
	for _, bits := range []int64{1e6, 10e6} {
		t.Run(fmt.Sprintf("%dkbit", bits/1000), func(t *testing.T) { slowLineTCP(t, bits) })
	}
}

func slowLineTCP(t *testing.T, bits int64) {
	const latency = 20 * time.Millisecond
	size := int(bits / 8) // each of three loads is a second of the line
	a := start(t, netservice.Config{ChainID: "c", Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	listens := a.Node().Host().Network().ListenAddresses()[0]
	port, err := listens.ValueForProtocol(6) // TCP
	if err != nil {
		t.Fatal(err)
	}
	f, err := testnet.NewForwarder("127.0.0.1:"+port, bits, latency)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	through := netip.MustParseAddrPort(f.Addr().String()).Port()
	b := start(t, netservice.Config{ChainID: "c", NoPeerExchange: true,
		Bootstrap: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", through, a.Node().ID())}})

	var whole atomic.Int32
	voted, allThere := make(chan struct{}, 1), make(chan struct{})
	arrived := func() {
		if whole.Add(1) == 3 {
			close(allThere)
		}
	}
	note := func(context.Context, netservice.Received[[]byte]) { arrived() }
	slowBulk.Subscribe(a, note)
	slowCast.Subscribe(a, note)
	slowCast.Subscribe(b, func(context.Context, netservice.Received[[]byte]) {})
	slowVote.Subscribe(a, func(context.Context, netservice.Received[[]byte]) { voted <- struct{}{} })
	lost := b.SubscribePeers(netservice.PeerDisconnected)
	up := b.SubscribePeers(netservice.PeerConnected)
	for len(b.Peers()) == 0 {
		<-up.Events()
	}
	ln, err := a.P2P().Listen(t.Context(), "/x/bulk")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		if n, err := io.Copy(io.Discard, c); err == nil && n == int64(size) {
			arrived()
		}
		c.Close()
	})
	to := a.Node().ID()
	c, err := b.P2P().DialConn(t.Context(), to, "/x/bulk")
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		c.Write(slowBytes(size))
		c.Close()
	})
	if err := slowCast.Broadcast(t.Context(), b, slowBytes(size)); err != nil {
		t.Fatal(err)
	}
	if err := slowBulk.Send(t.Context(), b, to, slowBytes(size)); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	limit := time.After(time.Minute)
	for done := false; !done; {
		sent := time.Now()
		if err := slowVote.Send(t.Context(), b, to, slowBytes(100)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-voted:
			took = append(took, time.Since(sent))
		case e := <-lost.Events():
			t.Fatalf("the session ended: %v", e.Reason)
		case <-limit:
			t.Fatalf("%d of 3 have arrived", whole.Load())
		}
		select {
		case <-allThere:
			done = true
		default:
		}
	}
	slices.Sort(took)
	p99, most := took[len(took)*99/100], 4*2*latency+time.Duration(64<<10*8)*time.Second/time.Duration(bits)
	t.Logf("%d small messages: p50 %s, p99 %s of %s", len(took), took[len(took)/2], p99, most)
	if p99 > most {
		t.Errorf("a small message took %s, at most %s", p99, most)
	}
	for id, p := range a.Stats().Peers {
		if p.Receive.Faults > 0 {
			t.Errorf("%s is blamed %d times", id, p.Receive.Faults)
		}
	}
}
