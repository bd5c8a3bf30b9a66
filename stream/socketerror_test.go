//go:build unix

package stream

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

// A reset of a socket from which nobody reads any more is found by asking.
func TestSocketError(t *testing.T) {
	client, local := socketPair(t)
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := socketError(local); err != nil {
		t.Errorf("after a half-close: %v", err)
	}
	ResetConn(client)
	for until := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		err := socketError(local)
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("after a reset: %v", err)
		}
	}
}

// stuckStream is a stream whose peer takes nothing.
type stuckStream struct {
	network.Stream
	writing, reset chan struct{}
}

func (s *stuckStream) Conn() network.Conn { return yamuxConn{} }

func (s *stuckStream) Write([]byte) (int, error) {
	close(s.writing)
	<-s.reset // closed by Reset
	return 0, network.ErrReset
}

func (s *stuckStream) Read([]byte) (int, error) {
	<-s.reset // closed by Reset
	return 0, network.ErrReset
}

func (s *stuckStream) Reset() error {
	select {
	case <-s.reset:
	default:
		close(s.reset)
	}
	return nil
}

// endedStream is a stream of a connection that its peer has just closed.
type endedStream struct{ *stuckStream }

func (endedStream) Write([]byte) (int, error) { return 0, io.EOF }

// The end of the connection below, which a write may meet as an end of file, is no
// end of file of the stream.
func TestWriteToAClosedConnection(t *testing.T) {
	client, local := socketPair(t)
	s, _, err := NewRegistry(Config{}).NewGroup(Settings{}).Open(t.Context(), "peer", Outbound)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("upload")); err != nil {
		t.Fatal(err)
	}
	remote := endedStream{&stuckStream{reset: make(chan struct{})}}
	ended := make(chan error, 1)
	go func() { ended <- s.Bridge(local, remote, nil) }()
	for failed := error(nil); failed == nil; runtime.Gosched() { // until the write has failed
		s.mu.Lock()
		failed = s.err
		s.mu.Unlock()
	}
	_ = remote.Reset()
	err = <-ended
	if !errors.Is(err, network.ErrReset) || errors.Is(err, io.EOF) {
		t.Errorf("the bridge ended with %v", err)
	}
}

type yamuxConn struct{ network.Conn }

func (yamuxConn) IsClosed() bool { return false }

func (yamuxConn) ConnState() network.ConnectionState {
	return network.ConnectionState{StreamMultiplexer: yamux.ID}
}

// A local end that resets while its upload waits for the peer is found by asking,
// too, also where the watch looks for an idle timeout now and then.
func TestResetWhileThePeerTakesNothing(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} {
		t.Run("idle "+idle.String(), func(t *testing.T) { testResetWhileThePeerTakesNothing(t, idle) })
	}
}

func testResetWhileThePeerTakesNothing(t *testing.T, idle time.Duration) {
	client, local := socketPair(t)
	s, _, err := NewRegistry(Config{}).NewGroup(Settings{Idle: idle, Stall: time.Hour}).Open(t.Context(), "peer", Outbound)
	if err != nil {
		t.Fatal(err)
	}
	remote := &stuckStream{writing: make(chan struct{}), reset: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- s.Bridge(local, remote, nil) }()
	if _, err := client.Write([]byte("upload")); err != nil {
		t.Fatal(err)
	}
	<-remote.writing // closed by Write
	s.mu.Lock()
	w := &s.end.(*bridge).watch
	s.mu.Unlock()
	look := func(at time.Time) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.looksWithin(lookTime) {
			t.Errorf("the watch looks every %v", time.Duration(w.period.Load()))
		}
		return w.lookLocked(at)
	}
	now := time.Now()
	if err := errors.Join(look(now), look(now.Add(2*lookTime))); err != nil {
		t.Fatalf("while the client waits: %v", err)
	}
	ResetConn(client)
	for until := now.Add(10 * time.Second); ; runtime.Gosched() {
		if err := look(now.Add(lookTime - 1)); err != nil {
			t.Fatalf("too early: %v", err)
		}
		if err = look(now.Add(lookTime)); err != nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the reset is not seen")
		}
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the reset was seen as %v", err)
	}
	s.kill(err)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the bridge ended with %v", err)
	}
}
