package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 56: a peer sends on a stream what a broadcast of that type would have to pass
// a validator for. It is judged all the same, and who goes on with it is banned.
func TestHostileDirectMessages(t *testing.T) {
	besiege(t, func(c *netservice.Config) { c.SignMessages = true }, func(t *testing.T, s *siege) {
		block := netservice.Declare("block", netservice.Raw())
		if err := block.Validate(s.victim, func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
			switch string(m.Value) {
			case "valid":
				return netservice.Accept()
			case "panic":
				panic("test")
			case "defer":
				return netservice.Defer("parent")
			}
			return netservice.Reject()
		}); err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 64)
		if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		a := s.session()
		st := a.open("block")
		for _, text := range []string{"panic", "defer", "wrong", "valid", "wrong"} {
			st.Write(frame(uint64(len(text)), plain, []byte(text)...))
		}
		if text := next(t, "block", got); text != "valid" {
			t.Errorf("got %q", text)
		}
		none(t, "block", got, time.Second)
		if n := s.count("neb.net.direct_refused.block"); n != 4 {
			t.Errorf("%d are counted", n)
		}
		if s.peers(a.ID()) != 1 {
			t.Error("banned for two mistakes")
		}
		for range 5 {
			st.Write(frame(5, plain, []byte("wrong")...))
		}
		s.event(netservice.PeerBanned, a.ID())
	})
}

// Row 56: who knows what is about to be broadcast and sends it first, where nothing
// is signed, does not make the signed message a duplicate.
func TestHostileDuplicatePoisoning(t *testing.T) {
	besiege(t, func(c *netservice.Config) { c.SignMessages = true }, func(t *testing.T, s *siege) {
		block := netservice.Declare("block", netservice.Raw())
		signed := make(chan string, 64)
		if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) {
			if m.Author != "" {
				signed <- string(m.Value)
			}
		}, dispatcher.WithFilter(true)); err != nil {
			t.Fatal(err)
		}
		cfg := chain()
		cfg.SignMessages = true
		honest := s.service(s.address(), cfg)
		if err := honest.Start(); err != nil {
			t.Fatal(err)
		}
		if err := honest.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		a := s.session()
		time.Sleep(10 * time.Second)
		st := a.open("block")
		for i := range 20 {
			b := fmt.Appendf(nil, "block %02d", i)
			st.Write(frame(uint64(len(b)), plain, b...))
			time.Sleep(50 * time.Millisecond)
			if err := block.Broadcast(t.Context(), honest, b); err != nil {
				t.Fatal(err)
			}
			if got := next(t, "signed block", signed); got != string(b) {
				t.Errorf("got %q", got)
			}
		}
	})
}

// Row 56: who knows what is about to be broadcast, and broadcasts it first with a
// signature of its own, does not make its true author's message a duplicate.
func TestHostileOtherAuthor(t *testing.T) {
	besiege(t, func(c *netservice.Config) { c.SignMessages = true }, func(t *testing.T, s *siege) {
		block := netservice.Declare("block", netservice.Raw())
		authors := make(chan string, 64)
		if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { authors <- m.Author },
			dispatcher.WithFilter(true)); err != nil {
			t.Fatal(err)
		}
		honest := s.friend(func(c *netservice.Config) { c.SignMessages = true })
		g := s.gossiper(meshsub)
		meshed()
		for i := range 20 {
			b := fmt.Append(nil, "block ", i)
			g.send(&pb.RPC{Publish: []*pb.Message{g.message("block", string(b), 0, true)}})
			if got := next(t, "block", authors); got != g.ID().String() {
				t.Fatalf("block of %s", got)
			}
			if err := block.Broadcast(t.Context(), honest, b); err != nil {
				t.Fatal(err)
			}
			if got := next(t, "signed block", authors); got != honest.Node().ID().String() {
				t.Errorf("block of %s", got)
			}
		}
	})
}

// Row 56: Relay does not spread what this node's own validator does not accept.
func TestRelayJudges(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		block := netservice.Declare("block", netservice.Raw())
		if err := block.Validate(s.victim, func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
			if string(m.Value) == "valid" {
				return netservice.Accept()
			}
			return netservice.Ignore()
		}); err != nil {
			t.Fatal(err)
		}
		honest := s.service(s.address(), chain())
		got := make(chan string, 8)
		if _, err := block.Subscribe(honest, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		if err := honest.Start(); err != nil {
			t.Fatal(err)
		}
		if err := honest.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		from := honest.Node().ID().String()
		if err := s.victim.Relay(t.Context(), dispatcher.NewMessage("block", from, []byte("wrong"))); !errors.Is(err, netservice.ErrRejected) {
			t.Errorf("relay: %v", err)
		}
		if err := s.victim.Relay(t.Context(), dispatcher.NewMessage("block", from, []byte("valid"))); err != nil {
			t.Errorf("relay: %v", err)
		}
		if text := next(t, "block", got); text != "valid" {
			t.Errorf("got %q", text)
		}
	})
}

// A type that comes by broadcast only cannot be sent directly.
func TestWithoutDirect(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		block := netservice.Declare("block", netservice.Raw(), netservice.WithoutDirect())
		got := make(chan string, 8)
		if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		peer := s.service(s.address(), chain())
		if err := peer.Start(); err != nil {
			t.Fatal(err)
		}
		if err := peer.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := block.Send(t.Context(), peer, s.victim.Node().ID(), []byte("direct")); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("send: %v", err)
		}
		if err := block.Broadcast(t.Context(), peer, []byte("broadcast")); err != nil {
			t.Fatal(err)
		}
		if text := next(t, "block", got); text != "broadcast" {
			t.Errorf("got %q", text)
		}
		neither := netservice.Declare("neither", netservice.Raw(), netservice.WithoutDirect(), netservice.WithoutBroadcast())
		if _, err := neither.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err == nil {
			t.Error("a type that cannot come at all")
		}
	})
}
