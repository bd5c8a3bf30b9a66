package netservice_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// whisper is a type that is never broadcast.
var whisper = netservice.Declare("whisper", netservice.Raw(), netservice.WithoutBroadcast())

// gossipStreams counts a node's open gossip streams.
func gossipStreams(n *nettest.Node) (open int) {
	for _, c := range n.Service().Node().Host().Network().Conns() {
		for _, s := range c.GetStreams() {
			if strings.Contains(string(s.Protocol()), "meshsub") {
				open++
			}
		}
	}
	return open
}

// Nodes without a type to broadcast send messages to each other, and have
// nothing to do with gossip. The first type to broadcast changes that, on nodes
// that run.
func TestNoBroadcast(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		got := make(chan netservice.Received[[]byte], 1)
		_, err := whisper.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- m })
		if err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		ctx := t.Context()
		if err := whisper.Send(ctx, a.Service(), b.ID(), []byte("psst")); err != nil {
			t.Fatal(err)
		}
		m := next(t, "whisper", got)
		none := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, netservice.ErrNoBroadcast) {
				t.Errorf("%s: %v", what, err)
			}
		}
		none("Broadcast", whisper.Broadcast(ctx, a.Service(), []byte("HEY")))
		none("Relay", whisper.Relay(ctx, b.Service(), m))
		none("Validate", whisper.Validate(b.Service(), func(context.Context, netservice.Received[[]byte]) netservice.Verdict {
			return netservice.Accept()
		}))
		time.Sleep(time.Minute)
		if n := gossipStreams(a) + gossipStreams(b); n != 0 {
			t.Errorf("%d gossip streams without a type to broadcast", n)
		}

		in := inbox(t, b.Service(), 1)
		if err := text.Broadcast(ctx, a.Service(), []byte("hello all")); err != nil {
			t.Fatal(err)
		}
		if m := next(t, "broadcast", in); string(m.Value) != "hello all" {
			t.Errorf("broadcast: %q", m.Value)
		}
		if gossipStreams(a) == 0 || gossipStreams(b) == 0 {
			t.Error("a broadcast without gossip streams")
		}
		topics := a.Service().Stats().Gossip.Types
		if _, ok := topics["whisper"]; ok || len(topics) != 1 {
			t.Errorf("topics: %v", topics)
		}
	})
}

// A type that was used before its declaration has a topic until then.
func TestNoBroadcastDeclaredLate(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		nw.Start()
		if err := a.Service().Broadcast(t.Context(), whisper.Name(), []byte("early")); err != nil {
			t.Fatal(err)
		}
		has := func() bool {
			_, ok := a.Service().Stats().Gossip.Types[whisper.Name()]
			return ok
		}
		if !has() {
			t.Error("no topic before the declaration")
		}
		if err := whisper.Put(a.Service(), nil); err != nil {
			t.Fatal(err)
		}
		if has() {
			t.Error("a topic after the declaration")
		}
	})
}

func TestNoBroadcastConflicts(t *testing.T) {
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Declare(netservice.MessageSpec{Name: "odd", NoBroadcast: true, Gossip: netservice.GossipSpec{Timed: true}})
	if c, ok := errors.AsType[*netservice.ConfigError](err); !ok || c.Field != "odd.Gossip" {
		t.Errorf("NoBroadcast and Timed: %v", err)
	}
	if err := s.Declare(netservice.MessageSpec{Name: "plain"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Declare(netservice.MessageSpec{Name: "plain", NoBroadcast: true}); !errors.Is(err, netservice.ErrConflict) {
		t.Errorf("declared both ways: %v", err)
	}
}
