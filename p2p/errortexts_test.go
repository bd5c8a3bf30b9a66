package p2p

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// Every error that a program gets of tunnels matches what is documented, names
// protocol, peer and limit, and says nothing twice.
func TestErrorTexts(t *testing.T) {
	long := "/unix" + filepath.Join("/tmp", strings.Repeat("x", 200))
	inWorld(t, func(t *testing.T, w *world) {
		ctx, far := context.Background(), w.serve.self
		target := testkit.Addr(t, "/ip4/127.0.0.1/tcp/80")
		nobody, _ := peer.Decode("12D3KooWGRUjCoYV7TU9zN6Z7T5ebwLRqp3qPuYtQjmE5rWJ2Jx1")
		second := func(_ any, err error) error { return err }
		dial := func(proto string, bind string, opts ...Option) error {
			return second(w.dial.Dial(ctx, nil, far, proto, testkit.Addr(t, bind), opts...))
		}
		conn := func(p *P2P, proto string, opts ...Option) (net.Conn, error) {
			return p.DialConn(ctx, far, proto, opts...)
		}
		listen := func(proto string, at ma.Multiaddr, opts ...Option) error {
			return second(w.serve.NewListener(ctx, proto, at, opts...))
		}
		// What the peer says comes with the first Read.
		told := func(proto string) error {
			c, err := conn(w.dial, proto)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
			return err
		}
		echo := w.service(func(c *testnet.Conn) { echoConn(c) })
		if err := errors.Join(
			listen(web, echo),
			listen("/x/refused", target),
			listen("/x/closed", echo, WithAdmit(nobody)),
			listen("/x/few", echo, WithMaxStreams(1)),
		); err != nil {
			t.Fatal(err)
		}
		few := newTunnels(t, w.dial.host, WithMaxStreamsPerPeer(1))
		first, err := conn(few, web)
		if err != nil {
			t.Fatal(err)
		}
		limited := second(conn(few, web))
		_ = first.Close()
		serving, err := conn(w.dial, "/x/few")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = serving.Write([]byte("x"))
		_, _ = serving.Read(make([]byte, 1))
		crowded := told("/x/few")
		_ = serving.Close()
		ended := newTunnels(t, w.dial.host)
		_ = ended.Close()
		for name, tc := range map[string]struct {
			err   error
			is    error
			names []string
		}{
			"name":              {dial("web", loopback), ErrProtocolName, []string{"web", "/x/"}},
			"name of a service": {listen("web", target), ErrProtocolName, []string{"web", "/x/"}},
			"taken":             {listen(web, target), ErrProtocolTaken, []string{web}},
			"taken, listener's": {listen(web, target), listener.ErrProtocolTaken, []string{web}},
			"bind":              {dial(web, "/ip4/127.0.0.1/udp/1"), ErrAddress, []string{web, "/udp/1"}},
			"long path":         {dial(web, long), ErrAddress, []string{web, "205 bytes", "at most"}},
			"target port":       {listen("/x/other", testkit.Addr(t, "/ip4/127.0.0.1/tcp/0")), ErrAddress, []string{"/x/other", "port 0"}},
			"target denied": {listen("/x/other", testkit.Addr(t, "/ip4/10.0.0.1/tcp/80"), WithTargetRule(func(Target) bool { return false })),
				ErrTargetDenied, []string{"/x/other", "10.0.0.1"}},
			"not served":   {second(conn(w.dial, "/x/nothing")), ErrNotServed, []string{"/x/nothing", far.String()}},
			"check":        {w.dial.CheckRemote(ctx, far, "/x/nothing"), ErrNotServed, []string{"/x/nothing", far.String()}},
			"unreachable":  {second(w.dial.DialConn(ctx, nobody, web)), ErrUnreachable, []string{web, nobody.String()}},
			"refused":      {told("/x/refused"), ErrTargetRefused, []string{"/x/refused", far.String()}},
			"not admitted": {told("/x/closed"), ErrNotAdmitted, []string{"/x/closed", far.String()}},
			"limit":        {limited, ErrLimit, []string{web, "1", "WithMaxStreamsPerPeer", far.String()}},
			"limit there":  {crowded, stream.ErrLimit, []string{"/x/few", far.String()}},
			"closed":       {second(conn(ended, web)), net.ErrClosed, []string{web}},
			"closed check": {ended.CheckRemote(ctx, far, web), ErrClosed, []string{web}},
			"closed dial":  {second(ended.Dial(ctx, nil, far, web, testkit.Addr(t, loopback))), stream.ErrClosed, []string{web}},
			"closed serve": {second(ended.NewListener(ctx, web, target)), listener.ErrClosed, []string{web}},
		} {
			checkText(t, name, tc.err, tc.is, tc.names)
		}
	})
}

func checkText(t *testing.T, name string, err, is error, names []string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", name)
		return
	}
	text := err.Error()
	t.Logf("%s: %s", name, text)
	if !errors.Is(err, is) {
		t.Errorf("%s: %q is not %q", name, text, is)
	}
	for _, n := range names {
		if !strings.Contains(text, n) {
			t.Errorf("%s: %q does not name %q", name, text, n)
		}
	}
	said := map[string]bool{}
	for phrase := range strings.SplitSeq(text, ": ") {
		if said[phrase] {
			t.Errorf("%s: %q says %q twice", name, text, phrase)
		}
		said[phrase] = true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("%s: %q is no timeout of net.Error", name, text)
		}
	}
}
