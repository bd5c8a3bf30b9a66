package stream

import (
	"bytes"
	"net"
	"testing"
)

// plainConn hides that a connection is a socket.
type plainConn struct{ net.Conn }

// socketPair is a TCP connection on loopback.
func socketPair(t *testing.T) (client, local net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	local, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	return client, local
}

// A source takes a large buffer while reads come back full, gives it back when
// they do not, and holds none while it waits.
func TestSourceBufferSizes(t *testing.T) {
	for _, tc := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"socket", func(c net.Conn) net.Conn { return c }},
		{"plain", func(c net.Conn) net.Conn { return plainConn{c} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, local := socketPair(t)
			src := newSource(tc.wrap(local), newBuffers())
			defer src.release()
			// read takes exactly what was sent and returns the largest piece.
			read := func(sent []byte) (largest int) {
				t.Helper()
				wrote := make(chan error, 1)
				go func() {
					_, err := client.Write(sent)
					wrote <- err
				}()
				var got []byte
				for len(got) < len(sent) {
					data, err := src.next()
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, data...)
					largest = max(largest, len(data))
				}
				if err := <-wrote; err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, sent) {
					t.Error("what was read is not what was sent")
				}
				return largest
			}

			if n := read([]byte("a few bytes")); n > peekSize || src.bulk {
				t.Errorf("after a few bytes: piece of %d, wants a large buffer: %t", n, src.bulk)
			}
			bulk := make([]byte, 32<<20)
			for i := range bulk {
				bulk[i] = byte(i >> 8)
			}
			if n := read(bulk); n <= frameSize || n > bulkSize {
				t.Errorf("the largest of many full reads brought %d bytes", n)
			}
			read([]byte("a few bytes"))
			if src.bulk {
				t.Error("wants a large buffer after a few bytes")
			}
			if src.raw == nil && src.buf != nil {
				t.Error("holds a buffer after a few bytes")
			}
		})
	}
}

func TestBulky(t *testing.T) {
	for _, tc := range []struct {
		n, size int
		want    bool
	}{
		{1, frameSize, false},
		{frameSize - 1, frameSize, false},
		{frameSize, frameSize, true},
		{frameSize, bulkSize, false},
		{frameSize + 1, bulkSize, true},
		{bulkSize, bulkSize, true},
	} {
		if got := bulky(tc.n, tc.size); got != tc.want {
			t.Errorf("bulky(%d, %d) = %t", tc.n, tc.size, got)
		}
	}
}
