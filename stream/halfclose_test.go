package stream

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// A client that is reset while its upload waits for a service that does not
// read, where there is no socket to ask: the bridge finds out when the service
// sends something, and ends when the peer takes nothing for the stall timeout.
func TestBridgeClientResetWhileUploading(t *testing.T) {
	inRig(t, Settings{Stall: time.Minute}, func(t *testing.T, r *rig) {
		go func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := r.client.Write(buf); err != nil {
					return
				}
			}
		}()
		synctest.Wait() // the window of the stream is full
		_ = r.client.SetLinger(0)
		_ = r.client.Close()
		if _, err := r.peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := <-r.ended // the first reason: that the client is gone
		if d := time.Since(began); d < time.Minute/2 || d > 2*time.Minute || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ended after %s: %v", d, err)
		}
		if _, err := io.Copy(io.Discard, r.peer); err == nil {
			t.Error("the peer was not told")
		}
	})
}

// What the client sent before it reset arrives, and then the reset.
func TestBridgeLastWordsBeforeAReset(t *testing.T) {
	inRig(t, Settings{}, func(t *testing.T, r *rig) {
		_, _ = io.WriteString(r.client, "last words")
		synctest.Wait()
		began := time.Now()
		r.client.Reset()
		time.Sleep(lastWords / 2) // a reader that is not that quick
		got, err := io.ReadAll(r.peer)
		if string(got) != "last words" || !errors.Is(err, network.ErrReset) {
			t.Errorf("peer got %q, %v", got, err)
		}
		if d := time.Since(began); d < lastWords || d > lastWords+10*time.Millisecond {
			t.Errorf("reset after %v", d)
		}
		r.wantEnd(syscall.ECONNRESET)
	})
}

// Without such words a reset waits for nothing.
func TestBridgeResetAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		words string
		end   func(r *rig)
	}{
		"nothing sent":   {"", func(r *rig) { r.client.Reset() }},
		"peer resets":    {"words", func(r *rig) { _ = r.peer.Reset() }},
		"program closes": {"words", func(r *rig) { _ = r.stream.Close() }},
		"closed between": {"words", func(r *rig) { r.client.Reset(); synctest.Wait(); _ = r.stream.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, Settings{}, func(t *testing.T, r *rig) {
				_, _ = io.WriteString(r.client, tc.words)
				synctest.Wait()
				began := time.Now()
				tc.end(r)
				if err := <-r.ended; err == nil {
					t.Error("a clean end")
				}
				if d := time.Since(began); d > 10*time.Millisecond {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

// resetConn is a local end that was reset: the writer was told, and the reader
// sees an end of file, as on Linux.
type resetConn struct {
	net.Conn
	written chan struct{}
}

func (c resetConn) Write([]byte) (int, error) {
	close(c.written)
	return 0, syscall.ECONNRESET
}

func (c resetConn) Read([]byte) (int, error) {
	<-c.written
	return 0, io.EOF
}

// An end of file behind a reset is not passed on as one: half an answer would
// look like a whole one.
func TestBridgeEOFBehindAReset(t *testing.T) {
	inRigWith(t, Settings{}, func(c net.Conn) net.Conn { return resetConn{c, make(chan struct{})} }, func(t *testing.T, r *rig) {
		if _, err := r.peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r.peer); !errors.Is(err, network.ErrReset) {
			t.Errorf("peer read %v, want a reset", err)
		}
		r.wantEnd(syscall.ECONNRESET)
	})
}

// What the peer had sent in full before the connection to it was lost arrives in
// full, however slowly the client reads, and is no reset.
func TestBridgeConnectionLostBehindTheEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		size       int // the first fits the socket, the others are more than it takes
		clientDone bool
	}{
		"little":                         {10, false},
		"much":                           {1_000_000, false},
		"little, client has half-closed": {10, true},
		"much, client has half-closed":   {1_000_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, Settings{}, func(t *testing.T, r *rig) {
				if tc.clientDone {
					_ = r.client.CloseWrite()
				}
				if _, err := r.peer.Write(make([]byte, tc.size)); err != nil {
					t.Fatal(err)
				}
				_ = r.peer.CloseWrite()
				synctest.Wait()
				time.Sleep(time.Second)
				_ = r.peer.Conn().Close()
				time.Sleep(4 * lookTime)
				got, err := io.ReadAll(r.client)
				if len(got) != tc.size || err != nil {
					t.Errorf("client got %d of %d bytes, %v", len(got), tc.size, err)
				}
				_, _ = r.client.Write([]byte("x")) // if nothing else did, this ends it
				<-r.ended
			})
		})
	}
}

// A client that takes nothing of what is left does not hold its place for ever.
func TestBridgeConnectionLostAndNobodyReads(t *testing.T) {
	inRig(t, Settings{Stall: time.Minute}, func(t *testing.T, r *rig) {
		_ = r.client.CloseWrite()
		if _, err := r.peer.Write(make([]byte, 1_000_000)); err != nil {
			t.Fatal(err)
		}
		_ = r.peer.CloseWrite()
		synctest.Wait()
		_ = r.peer.Conn().Close()
		began := time.Now()
		err := <-r.ended
		if d := time.Since(began); !errors.Is(err, errConnLost) || d < time.Minute || d > 2*time.Minute {
			t.Errorf("ended after %v: %v", d, err)
		}
	})
}
