package netservice_test

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
)

// Blocks above 256 KiB go with the signature of their author, who is trusted here by
// name. Nodes pass them on while they come.
func ExampleSignedHeaders() {
	ctx, cancel := exampleContext()
	defer cancel()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		panic(err)
	}
	author, err := peer.IDFromPrivateKey(key)
	if err != nil {
		panic(err)
	}
	trusted := func(p peer.ID) bool { return p == author }
	block := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(4<<20))
	got := make(chan int, 1)
	a, _, stop := pair(ctx, func(a, b *netservice.NebService) {
		for _, err := range []error{
			a.SetHeaders("block", netservice.SignedHeaders(key, trusted)),
			b.SetHeaders("block", netservice.SignedHeaders(nil, trusted)), // checks only
		} {
			if err != nil {
				panic(err)
			}
		}
		if _, err := block.Subscribe(b, func(_ context.Context, m netservice.Received[[]byte]) { got <- len(m.Value) }); err != nil {
			panic(err)
		}
	})
	defer stop()
	if err := block.Broadcast(ctx, a, make([]byte, 2<<20)); err != nil {
		panic(err)
	}
	fmt.Println(<-got, a.Stats().Large.Types["block"].Published)
	// Output: 2097152 1
}

// A header of the application's own: here the number of the block and a signature, as a
// chain has them anyway.
func ExampleType_Headers() {
	ctx, cancel := exampleContext()
	defer cancel()
	type block struct {
		Height int
		Body   []byte
	}
	blocks := netservice.Declare("block", netservice.JSON[block](), netservice.MaxSize(4<<20))
	sign := func(b block, h netservice.LargeHeader) ([]byte, error) {
		return fmt.Appendf(nil, "%d %x by me", b.Height, h.Digest), nil // a signature, really
	}
	check := func(_ context.Context, h netservice.LargeHeader) netservice.Verdict {
		var height int
		var digest, by string
		if _, err := fmt.Sscanf(string(h.Header), "%d %s by %s", &height, &digest, &by); err != nil || digest != fmt.Sprintf("%x", h.Digest) || by != "me" {
			return netservice.Reject()
		}
		return netservice.Accept()
	}
	got := make(chan int, 1)
	a, _, stop := pair(ctx, func(a, b *netservice.NebService) {
		for _, s := range []*netservice.NebService{a, b} {
			if err := blocks.Headers(s, sign, check); err != nil {
				panic(err)
			}
		}
		if _, err := blocks.Subscribe(b, func(_ context.Context, m netservice.Received[block]) { got <- m.Value.Height }); err != nil {
			panic(err)
		}
	})
	defer stop()
	if err := blocks.Broadcast(ctx, a, block{Height: 7, Body: make([]byte, 1<<20)}); err != nil {
		panic(err)
	}
	fmt.Println(<-got)
	// Output: 7
}
