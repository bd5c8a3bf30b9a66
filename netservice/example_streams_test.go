package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/netservice"
)

// A protocol of the program's own: raw streams, served to peers with a session only.
func ExampleNebService_HandleStream() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) {
		b.HandleStream("/app/echo/1.0.0", func(st network.Stream) {
			defer st.Close()
			io.Copy(st, st)
		})
	})
	defer stop()
	st, err := a.NewStream(ctx, b.Node().ID(), "/app/echo/1.0.0")
	if err != nil {
		panic(err)
	}
	fmt.Fprint(st, "over a stream")
	st.CloseWrite()
	text, err := io.ReadAll(st)
	fmt.Println(string(text), err)
	// Output: over a stream <nil>
}

// What a peer does not serve is an error of the call.
func ExampleNebService_NewStream() {
	ctx, cancel := exampleContext()
	defer cancel()
	a, b, stop := pair(ctx, nil)
	defer stop()
	_, err := a.NewStream(ctx, b.Node().ID(), "/app/other/1.0.0")
	fmt.Println(errors.Is(err, netservice.ErrUnsupported))
	_, err = a.NewStream(ctx, a.Node().ID(), "/app/other/1.0.0")
	fmt.Println(errors.Is(err, netservice.ErrUnknownPeer))
	// Output:
	// true
	// true
}

// Peers are told of the latest block when there is another one.
func ExampleNebService_RenewPayload() {
	ctx, cancel := exampleContext()
	defer cancel()
	var best atomic.Int64
	best.Store(41)
	a, err := netservice.NewNebService(exampleConfig(), quiet(), netservice.WithPayload(func() []byte {
		return fmt.Append(nil, "best block ", best.Load())
	}))
	if err != nil {
		panic(err)
	}
	defer a.Stop()
	b, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		panic(err)
	}
	defer b.Stop()
	if err := errors.Join(a.Start(), b.Start()); err != nil {
		panic(err)
	}
	if err := b.ConnectPeer(ctx, a.Node().Addrs()[0].String()); err != nil {
		panic(err)
	}
	payload := func() string { return string(b.Peers()[0].Payload) }
	fmt.Println(payload())
	best.Store(42)
	if err := a.RenewPayload(); err != nil {
		panic(err)
	}
	for payload() != "best block 42" && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(payload())
	// Output:
	// best block 41
	// best block 42
}

// A type that comes by broadcast only: nobody can send it to this node past the
// signatures of the network.
func ExampleWithoutDirect() {
	ctx, cancel := exampleContext()
	defer cancel()
	block := netservice.Declare("block", netservice.Raw(), netservice.WithoutDirect())
	got := make(chan string, 1)
	a, b, stop := pair(ctx, func(_, b *netservice.NebService) {
		if _, err := block.Subscribe(b, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			panic(err)
		}
	})
	defer stop()
	err := block.Send(ctx, a, b.Node().ID(), []byte("block 1"))
	fmt.Println("sent directly:", errors.Is(err, netservice.ErrUnsupported))
	if err := block.Broadcast(ctx, a, []byte("block 1")); err != nil {
		panic(err)
	}
	fmt.Println("broadcast:", <-got)
	// Output:
	// sent directly: true
	// broadcast: block 1
}
