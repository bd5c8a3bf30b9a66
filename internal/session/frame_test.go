package session

import (
	"bytes"
	"encoding/binary"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"testing"
)

func TestParseHeader(t *testing.T) {
	const limit = 1000
	long := binary.AppendUvarint(nil, limit+1)
	tests := []struct {
		name  string
		in    []byte
		want  header
		n     int
		fault Fault
	}{
		{"nothing", nil, header{}, 0, FaultNone},
		{"length only", []byte{5}, header{}, 0, FaultNone},
		{"half a length", []byte{0x85}, header{}, 0, FaultNone},
		{"empty message", []byte{0, 0}, header{}, 2, FaultNone},
		{"plain", []byte{5, 0, 'x'}, header{body: 5, raw: 5}, 2, FaultNone},
		{"largest", append(binary.AppendUvarint(nil, limit), 0), header{body: limit, raw: limit}, 3, FaultNone},
		{"compressed", []byte{5, 1, 9}, header{body: 5, raw: 9, flags: flagS2}, 3, FaultNone},
		{"zstd", []byte{5, 2, 9}, header{body: 5, raw: 9, flags: flagZstd}, 3, FaultNone},
		{"compressed, raw length to come", []byte{5, 1}, header{}, 0, FaultNone},
		{"too long", append(long, 0), header{}, 0, FaultOversize},
		{"too long is seen before the flags", long, header{}, 0, FaultOversize},
		{"2^63", append(binary.AppendUvarint(nil, 1<<63), 0), header{}, 0, FaultOversize},
		{"endless length", bytes.Repeat([]byte{0xff}, 5), header{}, 0, FaultOversize},
		{"not the shortest form", []byte{0x85, 0x00, 0}, header{}, 0, FaultCorrupt},
		{"unknown compression", []byte{5, 3}, header{}, 0, FaultFlags},
		{"unknown flag", []byte{5, 0x80}, header{}, 0, FaultFlags},
		{"bomb", append([]byte{5, 1}, long...), header{}, 0, FaultBomb},
		{"compression that grows", []byte{9, 1, 9}, header{}, 0, FaultCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, n, fault := parseHeader(tt.in, limit)
			if h != tt.want || n != tt.n || fault != tt.fault {
				t.Errorf("got %+v, %d, %v; want %+v, %d, %v", h, n, fault, tt.want, tt.n, tt.fault)
			}
		})
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []header{
		{}, {body: 1, raw: 1}, {body: 127, raw: 127}, {body: 128, raw: 128},
		{body: 7, raw: 300, flags: flagS2}, {body: msgtype.MaxSize - 1, raw: msgtype.MaxSize, flags: flagZstd},
	} {
		b := appendHeader(nil, h)
		if len(b) != h.size() || len(b) > maxHeader {
			t.Errorf("%+v: %d bytes, size() says %d", h, len(b), h.size())
		}
		for i := range b {
			if _, n, fault := parseHeader(b[:i], msgtype.MaxSize); n != 0 || fault != FaultNone {
				t.Errorf("%+v: prefix of %d bytes: %d, %v", h, i, n, fault)
			}
		}
		if got, n, fault := parseHeader(b, msgtype.MaxSize); got != h || n != len(b) || fault != FaultNone {
			t.Errorf("%+v came back as %+v, %d, %v", h, got, n, fault)
		}
	}
}

func TestCountFrames(t *testing.T) {
	b := appendHeader(nil, header{body: 3, raw: 3})
	b = append(b, "abc"...)
	b = appendHeader(b, header{})
	b = appendHeader(b, header{body: 2, raw: 9, flags: flagS2})
	b = append(b, "de"...)
	want := 0
	for i := range len(b) + 1 {
		switch i {
		case 5, 7, 12:
			want++
		}
		if got := countFrames(b[:i]); got != want {
			t.Errorf("%d bytes: %d frames, want %d", i, got, want)
		}
		if got, next := splitFrames(b, i); got != want || next < i || countFrames(b[:next]) != want && countFrames(b[:next]) != want+1 {
			t.Errorf("%d bytes were written: %d frames, want %d; goes on at %d", i, got, want, next)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, b := range [][]byte{{}, {0, 0}, {5, 0, 1}, {5, 1, 9}, {0xff, 0xff, 0xff, 0xff, 0xff}, {5, 3}, {0x80, 0}} {
		f.Add(b, 1000)
	}
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit = max(0, min(limit, msgtype.MaxSize))
		h, n, fault := parseHeader(b, limit)
		if n == 0 || fault != FaultNone {
			if n != 0 || h != (header{}) {
				t.Fatalf("no header, but %+v, %d, %v", h, n, fault)
			}
			return
		}
		if h.body > limit || h.raw > limit || h.body < 0 || h.raw < 0 {
			t.Fatalf("%+v exceeds %d", h, limit)
		}
		if again := appendHeader(nil, h); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x was read as %+v, which is written as %x", b[:n], h, again)
		}
	})
}
