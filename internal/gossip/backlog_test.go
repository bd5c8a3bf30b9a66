package gossip

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// closesAtOnce fails if Close waits.
func closesAtOnce(t *testing.T, n *node) {
	t.Helper()
	began := time.Now()
	must(t, n.e.Close(context.Background()))
	if d := time.Since(began); d > 0 {
		t.Errorf("Close took %v, and nothing could be written", d)
	}
}

// What is queued for a peer that may not be spoken to is not waited for.
func TestCloseDoesNotWaitForStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *Topic) { c.Member = func(peer.ID) bool { return false } })
		w.connect(n.h, w.node(nil).h)
		time.Sleep(time.Second)
		must(t, n.e.Declare(Topic{Type: "other"}))
		must(t, n.e.Join("other"))
		closesAtOnce(t, n)
	})
}

// What is queued for a peer is forgotten when no stream to it can be opened.
func TestFramesLostWithoutAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *Topic) { c.Member = func(peer.ID) bool { return false } })
		other := w.host() // it never opens a stream itself
		other.SetStreamHandler(n.e.main.protocols[0], func(s network.Stream) { _ = s.Reset() })
		w.connect(n.h, other)
		time.Sleep(time.Second)
		must(t, n.e.Declare(Topic{Type: "other"}))
		must(t, n.e.Join("other"))
		if n.e.main.backlog.of(other.ID()) == 0 {
			t.Fatal("nothing was queued")
		}
		must(t, n.h.Network().ClosePeer(other.ID()))
		time.Sleep(time.Second)
		if waits := n.e.main.backlog.of(other.ID()); waits != 0 {
			t.Errorf("%d bytes wait for a peer that is gone", waits)
		}
		closesAtOnce(t, n)
	})
}

// A stream begins with a frame that was never queued if the node has joined
// something, and else with one that was. Both leave nothing behind.
func TestFirstFrames(t *testing.T) {
	for _, joined := range []bool{true, false} {
		inBubble(t, func(t *testing.T, w *world) {
			n := w.node(nil)
			if !joined {
				must(t, n.e.Leave("tx"))
			}
			r := w.raw(n)
			for i := range 3 {
				n.publish(t, payload(i, 100))
			}
			time.Sleep(100 * time.Millisecond)
			b := n.e.main.backlog
			b.mu.Lock()
			k := *b.peers[r.h.ID()]
			b.mu.Unlock()
			if len(k.frames) != 0 || len(k.early) != 0 || k.hello {
				t.Errorf("joined %v: left behind: %+v", joined, k)
			}
			closesAtOnce(t, n)
		})
	}
}

// The first frame of a stream that begins with nothing may be written before it
// is put.
func TestFirstFrameWrittenEarly(t *testing.T) {
	b := newBacklog(10)
	b.expect("p")
	b.opened("p", false)
	b.take("p", 5)
	b.put("p", 5, nil)
	if n := b.of("p"); n != 0 {
		t.Errorf("%d bytes wait, and are written", n)
	}
	select {
	case <-b.empty():
	default:
		t.Error("a frame that is written is waited for")
	}
}

// Frames are waited for while there is a stream to write them to.
func TestEmptyBacklog(t *testing.T) {
	isEmpty := func(b *backlog) bool {
		select {
		case <-b.empty():
			return true
		default:
			return false
		}
	}
	b := newBacklog(10)
	b.put("p", 5, nil)
	if !isEmpty(b) {
		t.Error("waits for a peer without a stream")
	}
	b.expect("p")
	if isEmpty(b) {
		t.Error("does not wait for a stream that is being opened")
	}
	idle := b.empty()
	b.forget("p")
	select {
	case <-idle:
	default:
		t.Error("waits for a stream that could not be opened")
	}
	if len(b.peers) != 0 {
		t.Errorf("%d peers are kept", len(b.peers))
	}
}

// The stream to a peer dies, and the one from it with it: what is queued for the
// next one will be written.
func TestFramesWaitForTheNextStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.node(nil), w.node(nil)
		w.connect(a.h, b.h)
		settle()
		settle()
		for _, s := range a.e.main.streams.of(b.h.ID(), func(s *stream) bool { return s.out }) {
			_ = s.Stream.Reset()
		}
		time.Sleep(reopenAfter - 50*time.Millisecond)
		must(t, a.e.Declare(Topic{Type: "other"}))
		must(t, a.e.Join("other"))
		select {
		case <-a.e.main.backlog.empty():
			t.Error("the frame is not waited for")
		default:
		}
		settle()
		if waits := a.e.main.backlog.of(b.h.ID()); waits != 0 {
			t.Errorf("%d bytes wait still", waits)
		}
	})
}
