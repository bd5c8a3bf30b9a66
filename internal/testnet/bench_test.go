package testnet

import (
	"io"
	"testing"
	"time"
)

// BenchmarkConn moves bytes from one raw end to the other, in real time.
func BenchmarkConn(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"128B", 128}, {"64KiB", 64 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			n := New(1)
			n.SetBandwidth(n.Node(1), Bandwidth{Up: 1 << 50})
			l, err := n.Listen(Addr(n.Node(2)))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			w, err := n.Dial(b.Context(), n.Node(1), Addr(n.Node(2)))
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			r, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := io.CopyBuffer(io.Discard, onlyReader{r}, make([]byte, 64<<10))
				read <- err
			}()
			buf := make([]byte, size.bytes)
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			w.CloseWrite()
			if err := <-read; err != nil {
				b.Fatal(err)
			}
			r.Close()
		})
	}
}

type onlyReader struct{ io.Reader }

// BenchmarkLedger reserves on a line that is always behind.
func BenchmarkLedger(b *testing.B) {
	l := ledger{rate: 20_000_000}
	start := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			start = time.Now()
			l.used = l.used[:0]
		}
		l.reserve(start, segmentSize)
	}
}
