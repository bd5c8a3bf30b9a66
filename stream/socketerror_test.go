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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	local, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
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
