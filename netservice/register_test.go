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

// fickle is a subscriber whose type changes, or whose methods panic.
type fickle struct {
	typ func() string
	got chan dispatcher.Message
}

func (f *fickle) ID() any                          { return "fickle" }
func (f *fickle) MessageType() string              { return f.typ() }
func (f *fickle) DoFilter() bool                   { return false }
func (f *fickle) Weight() dispatcher.MessageWeight { return 1 }
func (f *fickle) Deliver(m dispatcher.Message) bool {
	f.got <- m
	return true
}

// Peers are told of the type under which a subscriber is registered, which it
// is asked for once, and no longer when it is gone.
func TestRegisterAsksOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		asked := 0
		sub := &fickle{got: make(chan dispatcher.Message, 9), typ: func() string {
			if asked++; asked == 1 {
				return "text"
			}
			panic("asked again")
		}}
		if err := b.Service().Register(sub); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		advertised := func() bool {
			time.Sleep(time.Second) // as long as it may take to tell
			return !errors.Is(text.Send(t.Context(), a.Service(), b.ID(), []byte("told?")), netservice.ErrUnsupported)
		}
		if !advertised() {
			t.Error("peers are not told of the type")
		}
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("1")); err != nil {
			t.Fatal(err)
		}
		next(t, "the message", sub.got)

		err := b.Service().Deregister(sub)
		se, ok := errors.AsType[*dispatcher.SubscriberError](err)
		if !ok || !errors.Is(se, dispatcher.ErrSubscriberPanic) {
			t.Errorf("a panic: %v", err)
		}
		if !advertised() {
			t.Error("peers are not told of a type that is registered still")
		}

		sub.typ = func() string {
			if asked++; asked == 3 {
				return "text"
			}
			return "other"
		}
		if err := b.Service().Deregister(sub); err != nil {
			t.Fatal(err)
		}
		if advertised() {
			t.Error("peers are told of a type that is gone")
		}
	})
}

// A subscriber that is registered with the dispatcher alone is heard by peers, as
// long as it is there, and has a name in the statistics if it is typed.
func TestRegisteredWithDispatcher(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		sub := &fickle{got: make(chan dispatcher.Message, 1), typ: func() string { return "text" }}
		if err := b.Service().Dispatcher().Register(sub); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // virtual
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("1")); err != nil {
			t.Fatal(err)
		}
		next(t, "the message", sub.got)
		if err := b.Service().Dispatcher().Deregister(sub); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // virtual
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("2")); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("to nobody: %v", err)
		}
		typed, err := text.Subscribe(b.Service(), func(context.Context, netservice.Received[[]byte]) {})
		if err != nil {
			t.Fatal(err)
		}
		defer typed.Close()
		if subs := b.Service().Stats().Dispatcher.Subscribers; len(subs) != 1 || subs[0].Name != "[]byte" {
			t.Errorf("%+v", subs)
		}
	})
}
