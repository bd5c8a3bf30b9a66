package netservice_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

func exampleContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// texts subscribes to a type and returns what comes.
func texts(s *netservice.NebService, msgType string) <-chan string {
	ch := make(chan string, 16)
	s.Register(dispatcher.NewHandler("texts", msgType, func(_ context.Context, m dispatcher.Message) { ch <- string(m.Data()) }))
	return ch
}

func ExampleNebService_Broadcast() {
	ctx, cancel := exampleContext()
	defer cancel()
	var got <-chan string
	a, _, stop := pair(ctx, func(_, b *netservice.NebService) { got = texts(b, "news") })
	defer stop()
	if err := a.Broadcast(ctx, "news", []byte("to everybody")); err != nil {
		panic(err)
	}
	fmt.Println(<-got)
	fmt.Println(errors.Is(a.Broadcast(ctx, "news", []byte("to everybody")), netservice.ErrDuplicate))
	// Output:
	// to everybody
	// true
}

func ExampleNebService_SendMessageToPeer() {
	ctx, cancel := exampleContext()
	defer cancel()
	var got <-chan string
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) { got = texts(b, "news") })
	defer stop()
	err := a.SendMessageToPeer(ctx, "news", []byte("to you"), b.Node().ID().String(), netservice.AtPriority(netservice.PriorityHigh))
	fmt.Println(<-got, err)
	fmt.Println(errors.Is(a.SendMessageToPeer(ctx, "news", nil, "nobody"), netservice.ErrUnknownPeer))
	// Output:
	// to you <nil>
	// true
}

func ExampleNebService_SendMessageToPeers() {
	ctx, cancel := exampleContext()
	defer cancel()
	var got <-chan string
	a, _, stop := pair(ctx, func(_, b *netservice.NebService) { got = texts(b, "news") })
	defer stop()
	inbound := netservice.PeersWhere(func(p netservice.PeerInfo) bool { return p.Direction == network.DirInbound })
	for _, filter := range []netservice.PeerFilter{netservice.AllPeers(), netservice.RandomPeers(3), inbound} {
		sent, err := a.SendMessageToPeers(ctx, "news", []byte("to some"), filter)
		fmt.Println(len(sent), err, <-got)
	}
	// Output:
	// 1 <nil> to some
	// 1 <nil> to some
	// 1 <nil> to some
}

func ExampleNebService_SetValidator() {
	ctx, cancel := exampleContext()
	defer cancel()
	var got <-chan string
	a, _, stop := pair(ctx, func(_, b *netservice.NebService) {
		b.SetValidator("news", func(_ context.Context, m dispatcher.Message) netservice.Verdict {
			if bytes.HasPrefix(m.Data(), []byte("fake")) {
				return netservice.Ignore() // Reject would hold it against the sender
			}
			return netservice.Accept()
		})
		got = texts(b, "news")
	})
	defer stop()
	for _, text := range []string{"fake news", "news"} {
		if err := a.Broadcast(ctx, "news", []byte(text)); err != nil {
			panic(err)
		}
	}
	fmt.Println(<-got)
	// Output: news
}

func ExampleNebService_ConnectPeer() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	other := exampleConfig()
	other.ChainID = "other"
	stranger, err := netservice.NewNebService(other, quiet())
	if err != nil {
		panic(err)
	}
	if err := stranger.Start(); err != nil {
		panic(err)
	}
	defer stranger.Stop()
	fmt.Println(b.ConnectPeer(ctx, a.Node().Addrs()[0].String()))
	err = stranger.ConnectPeer(ctx, a.Node().Addrs()[0].String())
	fmt.Println(errors.Is(err, netservice.ReasonWrongChain))
	// Output:
	// <nil>
	// true
}

func ExampleNebService_BanPeer() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	id := b.Node().ID().String()
	events := b.SubscribePeers(netservice.PeerDisconnected)
	defer events.Close()
	fmt.Println(a.BanPeer(id, time.Hour))
	<-events.Events()
	err := b.ConnectPeer(ctx, a.Node().Addrs()[0].String())
	fmt.Println(err == nil)
	fmt.Println(a.UnbanPeer(id))
	// Output:
	// <nil>
	// false
	// <nil>
}

func ExampleNebService_ReservePeer() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	// Kept beside the maximum of peers, and dialled again for as long as it takes.
	fmt.Println(a.ReservePeer(b.Node().Addrs()[0].String()), a.Peers()[0].Reserved)
	fmt.Println(a.UnreservePeer(b.Node().ID().String()), a.Peers()[0].Reserved)
	// Output:
	// <nil> true
	// <nil> false
}

func ExampleDeclare() {
	tx := netservice.Declare("tx", netservice.Raw(),
		netservice.MaxSize(64<<10),
		netservice.WithPriority(netservice.PriorityLow),
		netservice.WithCompression(netservice.CompressZstd),
		netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.DropOldest)))
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	fmt.Println(errors.Is(tx.Broadcast(context.Background(), s, make([]byte, 65<<10)), netservice.ErrTooLarge))
	// Output: true
}

func ExampleType_Put() {
	got := make(chan Block, 1)
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	newBlock.Subscribe(s, func(_ context.Context, m netservice.Received[Block]) { got <- m.Value })
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	newBlock.Put(s, Block{Height: 3}) // to this node's own subscribers
	fmt.Println(<-got)
	// Output: {3}
}

func ExampleWithLogger() {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	s, err := netservice.NewNebService(exampleConfig(), netservice.WithLogger(log))
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	s.Stop()
	fmt.Println(bytes.Contains(out.Bytes(), []byte("msg=started")), bytes.Contains(out.Bytes(), []byte("msg=stopped")))
	// Output: true true
}

func ExampleWithMetrics() {
	registry := metrics.NewRegistry()
	s, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithMetrics(registry))
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	fmt.Println(registry.Get("neb.net.packets.in") != nil, registry.Get("neb.net.bytes.out") != nil)
	// Output: true true
}

// A program that has a libp2p host gives it to the service, and closes it
// itself after Stop.
func ExampleWithHost() {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
	if err != nil {
		panic(err)
	}
	defer h.Close()
	s, err := netservice.NewNebService(netservice.Config{ChainID: "example"}, quiet(), netservice.WithHost(h))
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	fmt.Println(s.Node().ID() == h.ID())
	// Output: true
}

func ExampleWithIdentity() {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		panic(err)
	}
	s, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithIdentity(key))
	if err != nil {
		panic(err)
	}
	id, _ := peer.IDFromPrivateKey(key)
	fmt.Println(s.Node().ID() == id)
	// Output: true
}

func ExampleWithGossipParams() {
	params := netservice.PublicNetwork()
	params.D = 10 // peers in the mesh of a type
	params.Dhi = 14
	_, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithGossipParams(params))
	fmt.Println(err)
	// Output: <nil>
}
