package p2p

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/stream"
)

// The ways to close a stream from here.
var closers = map[string]func(*P2P){
	"stream": func(p *P2P) { p.Streams.Close(stream.All()) },
	"all":    func(p *P2P) { _ = p.Close() },
}

// closeHanging closes the one stream of p, which is being dialled, and checks
// that it ends as closed, for no fault of the other side.
func closeHanging(t *testing.T, p *P2P, end func(*P2P)) {
	t.Helper()
	hook := logtest.NewLocal(p.obs.Logger())
	hanging := p.Streams.List()[0]
	end(p)
	synctest.Wait()
	wantErr(t, hanging.Err(), ErrClosed)
	if lines := warnings(hook); len(lines) != 0 {
		t.Errorf("warned: %v", lines)
	}
	if got := counts(p)[obs.TunnelFailed+"closed"]; got != 1 {
		t.Errorf("%d counted as closed: %v", got, counts(p))
	}
}

// A stream that is closed while its target is dialled is not one whose target
// refused.
func TestVirtualClosedWhileTheTargetIsDialled(t *testing.T) {
	for name, end := range closers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				dialling := make(chan struct{})
				w.serve.dialTo = func(ctx context.Context, _ socketAddr, _ settings) (net.Conn, error) {
					close(dialling)
					<-ctx.Done()
					return nil, ErrTargetRefused
				}
				if _, err := w.serve.NewListener(t.Context(), web, testkit.Addr(t, "/ip4/127.0.0.1/tcp/80")); err != nil {
					t.Fatal(err)
				}
				s := openStream(t, w.dial.host, w.serve.self)
				_, _ = s.Write([]byte("x"))
				<-dialling
				closeHanging(t, w.serve, end)
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, network.ErrReset) || errors.Is(stream.Explain(err), ErrTargetRefused) {
					t.Errorf("the peer is told %v", stream.Explain(err))
				}
			})
		})
	}
}

// Nor is one that is closed while its peer is dialled one whose peer is
// unreachable.
func TestVirtualClosedWhileThePeerIsDialled(t *testing.T) {
	for name, end := range closers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at := w.tunnel(w.service(echoConn))
				w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
				w.connect(at)
				time.Sleep(time.Second)
				closeHanging(t, w.dial, end)
			})
			inWorld(t, func(t *testing.T, w *world) {
				w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
				dialled := make(chan error, 1)
				go func() {
					_, err := w.dial.DialConn(context.Background(), w.serve.self, web)
					dialled <- err
				}()
				synctest.Wait()
				closeHanging(t, w.dial, end)
				wantErr(t, <-dialled, net.ErrClosed)
			})
		})
	}
}

// Close ends checks that wait for a peer.
func TestVirtualClosedWhileAPeerIsChecked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustEcho(t, w.connect(w.tunnel(w.service(echoConn))), "before")
		w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
		checked := make(chan error, 2)
		go func() { checked <- w.dial.CheckRemote(context.Background(), w.serve.self, web) }()
		go func() {
			_, err := w.dial.Dial(context.Background(), nil, w.serve.self, web, testkit.Addr(t, loopback), WithCheck())
			checked <- err
		}()
		time.Sleep(time.Second)
		begin := time.Now()
		_ = w.dial.Close()
		for range 2 {
			wantErr(t, <-checked, ErrClosed)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("took %v", d)
		}
		wantErr(t, w.dial.CheckRemote(t.Context(), w.serve.self, web), ErrClosed)
	})
}
