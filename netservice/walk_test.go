package netservice

import (
	"context"
	"io"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

// pair are two services with a session, of which b takes messages of a type.
func pair(t *testing.T, msgType string, handle func()) (a, b *NebService) {
	t.Helper()
	nw := testnet.New(1, testnet.WithLink(testnet.Link{Latency: time.Millisecond}))
	log := logrus.New()
	log.SetOutput(io.Discard)
	var svcs []*NebService
	for i := range 2 {
		ip := nw.Node(i + 1)
		key, err := nw.Key(ip)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewNebService(Config{ChainID: "test", Listen: []string{testnet.Multiaddr(ip).String()}},
			WithLogger(log), WithIdentity(key), WithTransport(nw.Transport(ip)),
			WithHostOptions(libp2p.DisableIdentifyAddressDiscovery()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Stop() })
		svcs = append(svcs, s)
	}
	a, b = svcs[0], svcs[1]
	typed := Declare(msgType, Raw())
	if _, err := typed.Subscribe(b, func(context.Context, Received[[]byte]) { handle() }); err != nil {
		t.Fatal(err)
	}
	for _, s := range svcs {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ConnectPeer(t.Context(), b.Node().Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitForPeers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// A message from the wire to its handler takes no lock that the peers share: it
// passes while all of those that there are round the sessions are held.
func TestMessagesTakeNoSharedLock(t *testing.T) {
	got := make(chan struct{}, 1)
	a, b := pair(t, "walk", func() { got <- struct{}{} })
	arrives := func() bool {
		if err := a.SendMessageToPeer(t.Context(), "walk", []byte("x"), b.Node().ID().String()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-got:
			return true
		case <-time.After(20 * time.Second):
			return false
		}
	}
	if !arrives() { // opens the stream
		t.Fatal("no message")
	}
	n := b.node
	for _, shared := range []any{b, n.peerSet, n.types, n.direct, n.peers, n.engine} {
		unlock := lockAll(t, shared)
		ok := arrives()
		unlock()
		if !ok {
			t.Fatalf("messages wait for a lock of %T", shared)
		}
	}
}

// lockAll takes every mutex that a struct has.
func lockAll(t *testing.T, ptr any) (unlock func()) {
	t.Helper()
	var taken []sync.Locker
	v := reflect.ValueOf(ptr).Elem()
	for _, f := range v.Fields() {
		var l sync.Locker
		switch f.Type() {
		case reflect.TypeFor[sync.Mutex]():
			l = (*sync.Mutex)(f.Addr().UnsafePointer())
		case reflect.TypeFor[sync.RWMutex]():
			l = (*sync.RWMutex)(f.Addr().UnsafePointer())
		default:
			continue
		}
		l.Lock()
		taken = append(taken, l)
	}
	if len(taken) == 0 {
		t.Errorf("%T has no mutex: is it in the list for nothing?", ptr)
	}
	return func() {
		for _, l := range taken {
			l.Unlock()
		}
	}
}
