package netservice_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// A message type with all that may be said of it.
func ExampleNebService_Declare() {
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	defer s.Stop()
	blocks := netservice.MessageSpec{
		Name: "block", MaxSize: 4 << 20, Priority: netservice.PriorityHigh, Compression: netservice.CompressZstd,
		Gossip: netservice.GossipSpec{Concurrency: 8},
	}
	fmt.Println(s.Declare(blocks))
	blocks.MaxSize = 1
	fmt.Println(s.Declare(blocks)) // it is declared already, and otherwise
	// Output:
	// <nil>
	// message type conflicts with an earlier declaration: block: MaxSize was 4194304 and is 1
}

// The way of one message, by its type and hash.
func ExampleNebService_Trace() {
	ctx, cancel := exampleContext()
	defer cancel()
	came := make(chan struct{})
	a, b, stop := pair(ctx, func(a, b *netservice.NebService) {
		b.StartTracing("tx")
		b.Register(dispatcher.NewHandler("pool", "tx", func(context.Context, dispatcher.Message) { close(came) }))
	})
	defer stop()
	data := []byte("a pays b")
	if err := a.SendMessageToPeer(ctx, "tx", data, b.Node().ID().String()); err != nil {
		panic(err)
	}
	<-came
	trace, _ := b.Trace("tx", dispatcher.HashOf("tx", data))
	first := trace.Steps[0]
	fmt.Println(first.What, first.Detail, "from a:", first.Peer == a.Node().ID())
	// Output: received direct from a: true
}

// Validated at leisure, and passed on by the program itself.
func ExampleNebService_Relay() {
	ctx, cancel := exampleContext()
	defer cancel()
	slow := netservice.MessageSpec{Name: "block", Gossip: netservice.GossipSpec{ExplicitRelay: true}}
	relayed := make(chan error, 1)
	a, _, stop := pair(ctx, func(a, b *netservice.NebService) {
		a.Declare(slow)
		b.Declare(slow)
		b.Register(dispatcher.NewHandler("chain", "block", func(ctx context.Context, m dispatcher.Message) {
			// ... check the block, and then:
			relayed <- b.Relay(ctx, m)
		}))
	})
	defer stop()
	if err := a.Broadcast(ctx, "block", []byte("block 1")); err != nil {
		panic(err)
	}
	fmt.Println(<-relayed)
	// Output: <nil>
}

func ExampleNebService_ClosePeer() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	events := b.SubscribePeers(netservice.PeerDisconnected)
	defer events.Close()
	fmt.Println(a.ClosePeer(b.Node().ID().String(), netservice.ReasonRequested))
	e := <-events.Events()
	fmt.Println(e.Reason, e.ByRemote)
	// Output:
	// <nil>
	// closed on request true
}

func ExampleNebService_WaitForPeers() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, _, stop := pair(ctx, nil)
	defer stop()
	fmt.Println(a.WaitForPeers(ctx, 1), len(a.Peers()))
	ended, end := context.WithCancel(ctx)
	end()
	fmt.Println(a.WaitForPeers(ended, 2))
	// Output:
	// <nil> 1
	// wait for 2 peers, 1 are here: context canceled
}

// A child that arrives before its parent waits for it.
func ExampleNebService_Resume() {
	ctx, cancel := exampleContext()
	defer cancel()
	known := make(chan string, 1)
	asked := make(chan struct{}, 2)
	var got <-chan string
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) {
		b.SetValidator("block", func(_ context.Context, m dispatcher.Message) netservice.Verdict {
			asked <- struct{}{}
			_, parent, _ := strings.Cut(string(m.Data()), " on ")
			select {
			case p := <-known:
				if p == parent {
					return netservice.Accept()
				}
			default:
			}
			return netservice.Defer(parent)
		})
		got = texts(b, "block")
	})
	defer stop()
	if err := a.Broadcast(ctx, "block", []byte("block 2 on block 1")); err != nil {
		panic(err)
	}
	<-asked
	known <- "block 1" // it has arrived by another way
	b.Resume("block 1")
	fmt.Println(<-got)
	// Output: block 2 on block 1
}

// Broadcasts that are one message whatever comes after the first space.
func ExampleWithMessageID() {
	ctx, cancel := exampleContext()
	defer cancel()
	byFirstWord := netservice.WithMessageID(func(topic string, data []byte, _ peer.ID, _ []byte) string {
		word, _, _ := strings.Cut(string(data), " ")
		return topic + " " + word
	})
	s, err := netservice.NewNebService(exampleConfig(), quiet(), byFirstWord)
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	fmt.Println(s.Broadcast(ctx, "news", []byte("tx1 now")))
	fmt.Println(s.Broadcast(ctx, "news", []byte("tx1 again")) != nil)
	// Output:
	// <nil>
	// true
}

// What this library does not set on its libp2p host, the program may.
func ExampleWithHostOptions() {
	s, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithHostOptions(libp2p.ForceReachabilityPublic()))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Start())
	fmt.Println(s.Stop())
	// Output:
	// <nil>
	// <nil>
}

// A transport of the program's in place of TCP and QUIC: here, TCP once more.
func ExampleWithTransport() {
	s, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithTransport(tcp.NewTCPTransport))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Start())
	fmt.Println(len(s.Node().Addrs()) > 0)
	fmt.Println(s.Stop())
	// Output:
	// <nil>
	// true
	// <nil>
}

func ExampleWithoutBroadcast() {
	getBlocks := netservice.Declare("getblocks", netservice.Raw(), netservice.WithoutBroadcast())
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	defer s.Stop()
	err = getBlocks.Broadcast(context.Background(), s, []byte("7"))
	fmt.Println(errors.Is(err, netservice.ErrNoBroadcast))
	// Output: true
}

// The page of a node belongs behind the program's own access control. Here it is
// asked for its numbers as a script would.
func ExampleNebService_Inspector() {
	svc, err := netservice.NewNebService(netservice.Config{ChainID: "example", Listen: []string{netservice.ListenNowhere}})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/node/", http.StripPrefix("/node", svc.Inspector()))
	defer svc.Stop()
	server := httptest.NewServer(mux) // a program listens on an address of its own
	defer server.Close()

	resp, err := http.Get(server.URL + "/node/api/overview")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var answer struct{ Node struct{ Chain, State string } }
	err = json.NewDecoder(resp.Body).Decode(&answer)
	fmt.Println(answer.Node.Chain, answer.Node.State, err)
	// Output: example not started <nil>
}

// A program serves the metrics of its node with its own.
func ExampleNebService_Collector() {
	svc, err := netservice.NewNebService(netservice.Config{ChainID: "example", Listen: []string{netservice.ListenNowhere}}, quiet())
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(svc.Collector())
	if err := svc.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer svc.Stop()
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		if f.GetName() == "nebnet_send_queue_bytes" {
			fmt.Println(f.GetName(), f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: nebnet_send_queue_bytes 0
}

// libp2p's own metrics and those of the service in one registry, and log lines
// through log/slog.
func ExampleWithLibp2pMetrics() {
	registry := prometheus.NewRegistry()
	logs := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	svc, err := netservice.NewNebService(
		netservice.Config{ChainID: "example", Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
		netservice.WithLibp2pMetrics(registry), netservice.WithSlog(logs))
	if err != nil {
		fmt.Println(err)
		return
	}
	registry.MustRegister(svc.Collector())
	if err := svc.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer svc.Stop()
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	ours, theirs := 0, 0
	for _, f := range families {
		switch {
		case strings.HasPrefix(f.GetName(), "nebnet_"):
			ours++
		case strings.HasPrefix(f.GetName(), "libp2p_"):
			theirs++
		}
	}
	fmt.Println(ours > 0, theirs > 0)
	// Output: true true
}
