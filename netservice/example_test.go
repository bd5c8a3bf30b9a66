package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// Block is what the nodes of these examples tell each other.
type Block struct{ Height uint64 }

var newBlock = netservice.Declare("newblock", netservice.JSON[Block]())

// exampleConfig is a node on loopback; real ones listen on a fixed port.
func exampleConfig(boot ...string) netservice.Config {
	return netservice.Config{ChainID: "example", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Bootstrap: boot}
}

// pair starts two services that are peers. subscribe is called before they
// start: a peer learns at once of what was subscribed by then.
func pair(ctx context.Context, subscribe func(a, b *netservice.NebService)) (a, b *netservice.NebService, stop func()) {
	a, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	b, err = netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	if subscribe != nil {
		subscribe(a, b)
	}
	err = errors.Join(a.Start(), b.Start())
	if err == nil {
		err = errors.Join(b.ConnectPeer(ctx, a.Node().Addrs()[0].String()), a.WaitForPeers(ctx, 1))
	}
	if err != nil {
		panic(err)
	}
	return a, b, func() { b.Stop(); a.Stop() }
}

func Example() {
	ctx, cancel := exampleContext()
	defer cancel()
	boot, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	got := make(chan uint64, 1)
	if _, err := newBlock.Subscribe(boot, func(_ context.Context, m netservice.Received[Block]) { got <- m.Value.Height }); err != nil {
		panic(err)
	}
	if err := boot.Start(); err != nil {
		panic(err)
	}
	defer boot.Stop()

	node, err := netservice.NewNebService(exampleConfig(boot.Node().Addrs()[0].String()), quiet())
	if err != nil {
		panic(err)
	}
	if err := node.Start(); err != nil {
		panic(err)
	}
	defer node.Stop()
	if err := node.WaitForPeers(ctx, 1); err != nil {
		panic(err)
	}
	if err := newBlock.Broadcast(ctx, node, Block{Height: 7}); err != nil {
		panic(err)
	}
	fmt.Println("height", <-got)
	// Output: height 7
}

func ExampleType_Messages() {
	ctx, cancel := exampleContext()
	defer cancel()
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	go func() {
		for ctx.Err() == nil { // until the loop below has subscribed and is done
			newBlock.Put(s, Block{Height: 1})
			time.Sleep(time.Millisecond)
		}
	}()
	for m := range newBlock.Messages(ctx, s) {
		fmt.Println("height", m.Value.Height)
		break
	}
	// Output: height 1
}

func ExampleType_Send() {
	ctx, cancel := exampleContext()
	defer cancel()
	answer := make(chan uint64, 1)
	a, b, stop := pair(ctx, func(a, b *netservice.NebService) {
		newBlock.Subscribe(a, func(_ context.Context, m netservice.Received[Block]) { answer <- m.Value.Height })
		newBlock.Subscribe(b, func(ctx context.Context, m netservice.Received[Block]) {
			newBlock.Send(ctx, b, m.From, Block{Height: m.Value.Height + 1}) // reply
		})
	})
	defer stop()
	if err := newBlock.Send(ctx, a, b.Node().ID(), Block{Height: 1}); err != nil {
		panic(err)
	}
	fmt.Println(<-answer)
	// Output: 2
}

func ExampleType_SendTo() {
	ctx, cancel := exampleContext()
	defer cancel()
	got := make(chan uint64, 1)
	a, _, stop := pair(ctx, func(_, b *netservice.NebService) {
		newBlock.Subscribe(b, func(_ context.Context, m netservice.Received[Block]) { got <- m.Value.Height })
	})
	defer stop()
	sent, err := newBlock.SendTo(ctx, a, netservice.SquareRootPeers(), Block{Height: 5})
	fmt.Println(len(sent), err, <-got)
	// Output: 1 <nil> 5
}

func ExampleType_Relay() {
	ctx, cancel := exampleContext()
	defer cancel()
	// Delivered at once, passed on only when the application says so.
	tx := netservice.Declare("tx", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{ExplicitRelay: true}))
	done := make(chan error, 1)
	a, _, stop := pair(ctx, func(_, b *netservice.NebService) {
		tx.Subscribe(b, func(ctx context.Context, m netservice.Received[[]byte]) {
			done <- tx.Relay(ctx, b, m) // to all but the peer it came from
		})
	})
	defer stop()
	if err := tx.Broadcast(ctx, a, []byte("pay")); err != nil {
		panic(err)
	}
	fmt.Println(<-done)
	// Output: <nil>
}

func ExampleType_Validate() {
	ctx, cancel := exampleContext()
	defer cancel()
	heights := make(chan uint64, 2)
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) {
		var known sync.Map // validators run beside each other
		newBlock.Validate(b, func(_ context.Context, m netservice.Received[Block]) netservice.Verdict {
			if parent := m.Value.Height - 1; parent > 0 {
				if _, ok := known.Load(parent); !ok {
					return netservice.Defer(fmt.Sprint(parent)) // until Resume says that it is there
				}
			}
			known.Store(m.Value.Height, true)
			return netservice.Accept()
		})
		newBlock.Subscribe(b, func(_ context.Context, m netservice.Received[Block]) {
			heights <- m.Value.Height
			b.Resume(fmt.Sprint(m.Value.Height))
		})
	})
	defer stop()
	for _, height := range []uint64{2, 1} {
		if err := newBlock.Broadcast(ctx, a, Block{Height: height}); err != nil {
			panic(err)
		}
		for height == 2 && b.Stats().Gossip.Types["newblock"].Deferred == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Println(<-heights, <-heights)
	// Output: 1 2
}

func ExampleNebService_Register() {
	ctx, cancel := exampleContext()
	defer cancel()
	ch := make(chan dispatcher.Message, 16)
	sub := dispatcher.NewSubscriber("printer", ch, true, "text", 1)
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) {
		if err := b.Register(sub); err != nil {
			panic(err)
		}
	})
	defer stop()
	if err := a.SendMessageToPeer(ctx, "text", []byte("hello"), b.Node().ID().String()); err != nil {
		panic(err)
	}
	m := <-ch
	fmt.Println(m.MessageType(), string(m.Data()), m.MessageFrom() == a.Node().ID().String())
	fmt.Println(b.Deregister(sub))
	// Output:
	// text hello true
	// <nil>
}

func ExampleNebService_PutMessage() {
	s, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	ch := make(chan dispatcher.Message, 1)
	s.Register(dispatcher.NewSubscriber("me", ch, false, "text", 1))
	if err := s.Start(); err != nil {
		panic(err)
	}
	defer s.Stop()
	s.PutMessage(dispatcher.NewMessage("text", "", []byte("to myself")))
	fmt.Println(string((<-ch).Data()))
	// Output: to myself
}

func ExampleNebService_SubscribePeers() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	events := a.SubscribePeers(netservice.PeerDisconnected)
	defer events.Close()
	b.ClosePeer(a.Node().ID().String(), netservice.ReasonRequested)
	e := <-events.Events()
	fmt.Println(e.Kind, e.Reason, e.ByRemote)
	// Output: disconnected closed on request true
}

func ExampleNebService_Stats() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	st := a.Stats()
	fmt.Println(len(st.Peers), st.Peers[b.Node().ID().String()].Send.Queued, st.Dispatcher.Total.Received)
	// Output: 1 0 0
}

func ExampleWithPeerCheck() {
	ctx, cancel := exampleContext()
	defer cancel()
	strict, err := netservice.NewNebService(exampleConfig(), quiet(),
		netservice.WithPeerCheck(func(_ context.Context, h netservice.PeerHello) error {
			if string(h.Payload) != "best block 100" {
				return errors.New("too far behind")
			}
			return nil
		}))
	if err != nil {
		panic(err)
	}
	if err := strict.Start(); err != nil {
		panic(err)
	}
	defer strict.Stop()
	for _, best := range []string{"best block 1", "best block 100"} {
		s, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithPayload(func() []byte { return []byte(best) }))
		if err != nil {
			panic(err)
		}
		if err := s.Start(); err != nil {
			panic(err)
		}
		err = s.ConnectPeer(ctx, strict.Node().Addrs()[0].String())
		fmt.Println(best+":", err == nil, errors.Is(err, netservice.ReasonApplication))
		s.Stop()
	}
	// Output:
	// best block 1: false true
	// best block 100: true false
}

func ExampleConfig_Validate() {
	err := netservice.Config{Genesis: "xyz", MaxPeers: -1}.Validate()
	fmt.Println(err)
	// Output:
	// config: ChainID: is required
	// config: Genesis: encoding/hex: invalid byte: U+0078 'x'
	// config: MaxPeers: is -1, must be at least 1
}
