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
