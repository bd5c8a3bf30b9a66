package testnet

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A forwarder brings everything, in order, at its rate, and no sooner than its latency.
func TestForwarder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const latency = 20 * time.Millisecond
	f, err := NewForwarder(ln.Addr().String(), 8_000_000, latency) // 1 MB/s
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	began := time.Now()
	go func() {
		c.Write(data)
		c.Close()
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
	}
	if took, least := time.Since(began), 200*time.Millisecond+latency; took < least*95/100 {
		t.Errorf("took %s, at least %s", took, least)
	}
}
