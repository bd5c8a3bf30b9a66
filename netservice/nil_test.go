package netservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// What is nil and must not be is an error that says so.
func TestNilArgumentsAreErrors(t *testing.T) {
	s, err := netservice.NewNebService(chain(), nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var none *dispatcher.BasicMessage
	for name, m := range map[string]dispatcher.Message{"nil": nil, "typed nil": none} {
		if err := s.Relay(t.Context(), m); !errors.Is(err, dispatcher.ErrNilMessage) {
			t.Errorf("relay of %s: %v", name, err)
		}
		if err := s.PutMessage(m); !errors.Is(err, dispatcher.ErrNilMessage) {
			t.Errorf("put of %s: %v", name, err)
		}
	}
	if err := text.Relay(t.Context(), s, netservice.Received[[]byte]{}); !errors.Is(err, dispatcher.ErrNilMessage) {
		t.Errorf("relay of nothing received: %v", err)
	}
	if _, err := text.Subscribe(s, nil); !errors.Is(err, dispatcher.ErrNilHandler) {
		t.Errorf("subscribe without a function: %v", err)
	}

	uncoded := netservice.Declare[int]("uncoded", nil, nil)
	_, subscribed := uncoded.Subscribe(s, func(context.Context, netservice.Received[int]) {})
	_, sent := uncoded.SendTo(t.Context(), s, nil, 1)
	for name, err := range map[string]error{
		"subscribe": subscribed, "send to many": sent,
		"validate":  uncoded.Validate(s, nil),
		"broadcast": uncoded.Broadcast(t.Context(), s, 1),
		"put":       uncoded.Put(s, 1),
		"send":      uncoded.Send(t.Context(), s, "", 1),
	} {
		if e, ok := errors.AsType[*netservice.ConfigError](err); !ok || e.Field != "uncoded.Codec" {
			t.Errorf("%s without a codec: %v", name, err)
		}
	}
	for m := range uncoded.Messages(t.Context(), s) {
		t.Errorf("a message without a codec: %v", m)
	}
}

// What is nil and may be means the default: no option, every peer, no validator.
func TestNilArgumentsAreDefaults(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet(), nil)
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 2)
		judged := func(context.Context, netservice.Received[[]byte]) netservice.Verdict { return netservice.Reject() }
		if err := errors.Join(text.Validate(b.Service(), judged), text.Validate(b.Service(), nil)); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		sent, err := text.SendTo(t.Context(), a.Service(), netservice.PeersWhere(nil), []byte("sent"), nil)
		if err != nil || len(sent) != 1 {
			t.Fatalf("sent to %v: %v", sent, err)
		}
		next(t, "message", in)
		if err := text.Broadcast(t.Context(), a.Service(), []byte("broadcast")); err != nil {
			t.Fatal(err)
		}
		next(t, "broadcast", in)
	})
}
