package p2p

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// The address that a tunnel was given is used for as long as a tunnel lives, whatever
// the peerstore has, and no longer.
func TestVirtualAddressIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.serve.host.Addrs()[0]
		if _, err := w.serve.NewListener(t.Context(), web, w.service(echoConn)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := w.dial.Dial(t.Context(), at, w.serve.self, web, testkit.Addr(t, loopback)); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range w.dial.Listeners.List() {
			time.Sleep(20 * time.Minute)
			w.dial.peerstore.ClearAddrs(w.serve.self)
			c := w.connect(l.Listen)
			mustEcho(t, c, "by its address")
			_ = c.Close()
			_ = w.dial.host.Network().ClosePeer(w.serve.self)
			_ = l.Close()
		}
		w.dial.peerstore.ClearAddrs(w.serve.self)
		if _, err := w.dial.DialConn(t.Context(), w.serve.self, web); !errors.Is(err, ErrUnreachable) {
			t.Errorf("without a tunnel: %v", err)
		}
	})
}

// DialConn has no address of its own: it uses that of a tunnel, also after a
// connection has come and gone.
func TestVirtualDialConnByTheAddressOfATunnel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.serve.host.Addrs()[0]
		w.dial.peerstore.ClearAddrs(w.serve.self)
		w.dial.peerstore.AddAddr(w.serve.self, at, peerstore.TempAddrTTL)
		if _, err := w.serve.NewListener(t.Context(), web, w.service(echoConn)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.dial.Dial(t.Context(), at, w.serve.self, web, testkit.Addr(t, loopback)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(20 * time.Minute)
			c, err := w.dial.DialConn(t.Context(), w.serve.self, web)
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c, "by its address")
			_ = c.Close()
			_ = w.dial.host.Network().ClosePeer(w.serve.self)
		}
	})
}
