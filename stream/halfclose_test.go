package stream

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A client that is reset while its upload waits for a service that does not
// read: the bridge finds out when the service sends something, and ends when
// the peer takes nothing for the stall timeout.
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
