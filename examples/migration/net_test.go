package net

import (
	"errors"
	"io"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type text string

func (t text) ToProto() ([]byte, error) { return []byte(t), nil }

// Two nodes talk in the old words.
func TestOldWords(t *testing.T) {
	start := func(boot ...string) (*NetService, chan Message) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		ns, err := NewNetService(netservice.Config{ChainID: "old", Listen: []string{testkit.LoopbackTCP}, Bootstrap: boot}, netservice.WithLogger(log))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan Message, 16)
		if err := ns.Register(NewSubscriber(ns, got, true, "newblock", 1)); err != nil {
			t.Fatal(err)
		}
		if err := ns.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Stop(); err != nil {
				t.Error(err)
			}
		})
		return ns, got
	}
	a, atA := start()
	b, atB := start(a.Neb().Node().Addrs()[0].String())
	if err := errors.Join(a.Neb().WaitForPeers(t.Context(), 1), b.Neb().WaitForPeers(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Broadcast("newblock", text("one"), MessagePriorityHigh); err != nil {
		t.Fatal(err)
	}
	m := testkit.Receive(t, atB, "a broadcast")
	if string(m.Data()) != "one" || m.MessageFrom() != a.Neb().Node().ID().String() {
		t.Errorf("%q from %s", m.Data(), m.MessageFrom())
	}
	if err := b.SendMessageToPeer("newblock", []byte("two"), MessagePriorityLow, m.MessageFrom()); err != nil {
		t.Fatal(err)
	}
	if m := testkit.Receive(t, atA, "a message"); string(m.Data()) != "two" {
		t.Errorf("got %q", m.Data())
	}
	if err := b.ClosePeer(m.MessageFrom(), errors.New("no good")); err != nil {
		t.Error(err)
	}
}
