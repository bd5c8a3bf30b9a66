package netservice

import (
	"context"
	"io"
	"reflect"
	"strings"
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

// A message from the wire to its handler takes no lock that all peers share, those of
// the dispatcher's queues apart: it passes while all locks of any part of the node are
// held.
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
	tried := 0
	for _, part := range append(parts(reflect.ValueOf(b.node).Elem()), reflect.ValueOf(b).Elem(), reflect.ValueOf(b.node).Elem()) {
		unlock, locks := lockAll(part)
		tried += locks
		ok := arrives()
		unlock()
		if !ok {
			t.Fatalf("messages wait for a lock of %s", part.Type())
		}
	}
	if tried < 12 {
		t.Errorf("only %d locks were found", tried)
	}
}

// parts are the structs of this module that a struct has, or points to.
func parts(v reflect.Value) (all []reflect.Value) {
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = reflect.NewAt(f.Type().Elem(), f.UnsafePointer()).Elem()
		}
		if f.Kind() == reflect.Struct && strings.HasPrefix(f.Type().PkgPath(), "github.com/go-nebnet/nebnet/") {
			all = append(all, f)
		}
	}
	return all
}

// lockAll takes every mutex that a struct has.
func lockAll(v reflect.Value) (unlock func(), locks int) {
	var taken []sync.Locker
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
	return func() {
		for _, l := range taken {
			l.Unlock()
		}
	}, len(taken)
}
