package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

var stubBlock = netservice.Declare("newblock", netservice.JSON[Block]())

// stub is a Service for tests of a program: what is sent is kept, what is put is
// handed over at once.
type stub struct {
	netservice.Service // panics where a method is not written

	sent []string
	subs []dispatcher.Subscriber
}

func (s *stub) Declare(netservice.MessageSpec) error { return nil }

func (s *stub) Register(subs ...dispatcher.Subscriber) error {
	s.subs = append(s.subs, subs...)
	return nil
}

func (s *stub) Broadcast(_ context.Context, msgType string, data []byte) error {
	s.sent = append(s.sent, "all "+msgType+" "+string(data))
	return nil
}

func (s *stub) SendMessageToPeer(_ context.Context, msgType string, data []byte, peerID string, _ ...netservice.SendOption) error {
	s.sent = append(s.sent, peerID+" "+msgType+" "+string(data))
	return nil
}

// announcer is a part of a program.
type announcer struct{ svc netservice.Service }

func (a announcer) mined(height uint64) error {
	return stubBlock.Broadcast(context.Background(), a.svc, Block{Height: height})
}

func ExampleService() {
	svc := new(stub)
	err := announcer{svc}.mined(7)
	fmt.Println(svc.sent, err)
	// Output: [all newblock {"Height":7}] <nil>
}

// Typed code works on a Service that the program has made up, and on one that
// embeds a NebService.
func TestTypedCodeWorksOnAnyService(t *testing.T) {
	svc := new(stub)
	const id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	to, err := peer.Decode(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := stubBlock.Send(t.Context(), svc, to, Block{Height: 1}); err != nil {
		t.Fatal(err)
	}
	if len(svc.sent) != 1 || svc.sent[0] != id+` newblock {"Height":1}` {
		t.Errorf("sent %q", svc.sent)
	}
	if _, err := stubBlock.Subscribe(svc, func(context.Context, netservice.Received[Block]) {}); err != nil || len(svc.subs) != 1 {
		t.Errorf("%d subscribers, %v", len(svc.subs), err)
	}
	real, err := netservice.NewNebService(exampleConfig(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer real.Stop()
	embedded := struct{ *netservice.NebService }{real}
	if err := stubBlock.Send(t.Context(), embedded, to, Block{}); !errors.Is(err, netservice.ErrNotStarted) {
		t.Errorf("error %v", err)
	}
}
