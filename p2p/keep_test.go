package p2p

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// The address that a tunnel was given is kept for as long as the tunnel lives,
// whatever the peerstore had, and is then left to the peerstore.
func TestVirtualAddressIsKept(t *testing.T) {
	const long = 20 * time.Minute
	for name, tc := range map[string]struct {
		before time.Duration // TTL
		after  time.Duration // how long it stays when the tunnels are gone
	}{
		"unknown before":   {0, peerstore.TempAddrTTL},
		"short":            {time.Second, renewFor},
		"temporary":        {peerstore.TempAddrTTL, renewFor},
		"longer than ours": {3 * long, long - time.Second},
		"permanent":        {peerstore.PermanentAddrTTL, 2 * long},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at := w.serve.host.Addrs()[0]
				known := func() bool { return ma.Contains(w.dial.peerstore.Addrs(w.serve.self), at) }
				w.dial.peerstore.ClearAddrs(w.serve.self)
				w.dial.peerstore.AddAddr(w.serve.self, at, tc.before)
				for range 2 {
					l, err := w.dial.Dial(t.Context(), at, w.serve.self, web, addr(t, loopback))
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(long)
					if !known() {
						t.Error("forgotten while a tunnel lives")
					}
					defer l.Close()
				}
				for i, l := range w.dial.Listeners.List() {
					if !known() {
						t.Errorf("forgotten when %d of 2 tunnels are gone", i)
					}
					_ = l.Close()
				}
				time.Sleep(tc.after - time.Second)
				if !known() {
					t.Error("forgotten too soon")
				}
				if tc.before == peerstore.PermanentAddrTTL {
					return
				}
				time.Sleep(renewEvery)
				if known() {
					t.Error("never forgotten")
				}
			})
		})
	}
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
		if _, err := w.dial.Dial(t.Context(), at, w.serve.self, web, addr(t, loopback)); err != nil {
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
