package p2p

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// A connection that ends in the middle of an answer is no end of file, also when
// the peer's host ends it in good order, as that of a killed process is: half an
// answer would look like a whole one.
func TestLostConnectionIsNoEndOfFile(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		answered := make(chan network.Stream, 2)
		serve.host.SetStreamHandler(web, func(s network.Stream) {
			_, _ = s.Write([]byte("half an ans"))
			answered <- s
		})
		bridged := connect(t, bind(t, dial, serve.self))
		conn, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(deadline))
		for _, c := range []io.Reader{bridged, conn} {
			testkit.Receive(t, answered, "the stream")
			if _, err := io.ReadFull(c, make([]byte, len("half an ans"))); err != nil {
				t.Fatal(err)
			}
		}
		bridge := dial.Listeners.List()[0].Running()[0]
		_ = serve.host.Close()
		wantReset(t, bridged)
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the connection of the program ends with %v", err)
		}
		testkit.Receive(t, bridge.Done(), "the bridge to end")
		if err := bridge.Err(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the bridge ended with %v", err)
		}
	})
}

// What the peer had sent in full before its host went away is there to be read.
func TestVirtualLostConnectionBehindTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const size = 250_000 // nearly the window, so that reading would open it again
		w.serve.host.SetStreamHandler(web, func(s network.Stream) {
			_, _ = s.Write(make([]byte, size))
			_ = s.CloseWrite()
		})
		c, err := w.dial.DialConn(t.Context(), w.serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Second)
		_ = w.serve.host.Close()
		time.Sleep(time.Second)
		if got, err := io.ReadAll(c); len(got) != size || err != nil {
			t.Errorf("%d of %d bytes, %v", len(got), size, err)
		}
	})
}
