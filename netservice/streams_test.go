package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/netservice"
)

// A protocol of the program's own is served to peers with a session, on the
// session's connection, and to nobody else; a handler that panics hurts its stream.
func TestStreamsOfTheProgram(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		s.victim.HandleStream("/app/echo", func(st network.Stream) {
			b, _ := io.ReadAll(st)
			if string(b) == "panic" {
				panic("test")
			}
			st.Write(b)
			st.Close()
		})
		id := s.victim.Node().ID()
		stranger := s.attacker()
		if err := stranger.connect(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // nobody waits for its hello any more
		if err := stranger.connect(); err != nil {
			t.Fatal(err)
		}
		if st, err := stranger.NewStream(t.Context(), id, "/app/echo"); err == nil {
			st.Write([]byte("hello"))
			st.CloseWrite()
			if b, err := io.ReadAll(st); err == nil {
				t.Errorf("a stranger is answered %q", b)
			}
		}
		friend := s.service(s.address(), chain())
		if err := friend.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := friend.NewStream(t.Context(), id, "/app/echo"); !errors.Is(err, netservice.ErrUnknownPeer) {
			t.Errorf("without a session: %v", err)
		}
		if err := friend.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		for text, answer := range map[string]string{"hello": "hello", "panic": "", "again": "again"} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			st, err := friend.NewStream(ctx, id, "/app/echo")
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Second) // the deadline was for the opening
			st.Write([]byte(text))
			st.CloseWrite()
			if b, err := io.ReadAll(st); string(b) != answer || (err == nil) != (answer != "") {
				t.Errorf("%s: %q, %v", text, b, err)
			}
		}
		if _, err := friend.NewStream(t.Context(), id, "/app/other"); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("another protocol: %v", err)
		}
		s.victim.HandleStream("/app/echo", nil)
		if _, err := friend.NewStream(t.Context(), id, "/app/echo"); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("a protocol that was taken away: %v", err)
		}
	})
}

// A payload that is renewed reaches the peers, and those that come later.
func TestRenewedPayload(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		height := 1
		svc := s.service(s.address(), chain(), netservice.WithPayload(func() []byte { return fmt.Append(nil, height) }))
		if err := svc.RenewPayload(); !errors.Is(err, netservice.ErrNotStarted) {
			t.Errorf("before the start: %v", err)
		}
		if err := svc.Start(); err != nil {
			t.Fatal(err)
		}
		if err := svc.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		seen := func(at *netservice.NebService) string {
			for _, p := range at.Peers() {
				if p.ID == svc.Node().ID() {
					return string(p.Payload)
				}
			}
			return "no peer"
		}
		for ; height < 5; height++ {
			time.Sleep(6 * time.Second)
			if got := seen(s.victim); got != fmt.Sprint(height) {
				t.Errorf("payload %s, want %d", got, height)
			}
			height++
			if err := svc.RenewPayload(); err != nil {
				t.Fatal(err)
			}
			height--
		}
		later := s.service(s.address(), chain())
		if err := later.Start(); err != nil {
			t.Fatal(err)
		}
		if err := later.ConnectPeer(t.Context(), svc.Node().Addrs()[0].String()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := seen(later); got != fmt.Sprint(height) {
			t.Errorf("a later peer sees %s", got)
		}
	})
}

// A second connection to a peer, on which there is no session and no stream, is
// closed after a while.
func TestIdleConnectionsAreClosed(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		key := s.key()
		first, second := s.attacker(libp2p.Identity(key)), s.attacker(libp2p.Identity(key))
		first.enlist()
		if err := second.connect(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := s.conns(); n != 2 {
			t.Fatalf("%d connections", n)
		}
		time.Sleep(2 * time.Minute)
		if n := s.conns(); n != 1 || s.peers(first.ID()) != 1 {
			t.Errorf("%d connections, %d sessions", n, s.peers(first.ID()))
		}
	})
}
