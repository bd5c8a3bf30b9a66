package session

import (
	"bytes"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

func TestCompress(t *testing.T) {
	c := newCodec()
	text := []byte(strings.Repeat("block header, transaction, receipt; ", 400))
	for how, flag := range map[msgtype.Compression]byte{msgtype.CompressS2: flagS2, msgtype.CompressZstd: flagZstd} {
		t.Run(how.String(), func(t *testing.T) {
			packed, flags := c.compress(text, how)
			if flags != flag || len(packed) >= len(text) {
				t.Fatalf("flags %d, %d bytes of %d", flags, len(packed), len(text))
			}
			back, fault := c.decompress(header{body: len(packed), raw: len(text), flags: flags}, packed)
			if fault != FaultNone || !bytes.Equal(back, text) {
				t.Fatalf("came back as %d bytes, %v", len(back), fault)
			}
			noise := randomBytes(1, 4096)
			if same, flags := c.compress(noise, how); flags != flagNone || &same[0] != &noise[0] {
				t.Errorf("noise went out with flags %d", flags)
			}
		})
	}
}

// A payload that shrinks by more than a receiver lets pass goes out within the
// bound, and comes back whole.
func TestCompressWithinTheRatio(t *testing.T) {
	c := newCodec()
	for _, how := range []msgtype.Compression{msgtype.CompressS2, msgtype.CompressZstd} {
		for _, size := range []int{4096, 5000, 60_000, 70_000, 400_000, 1 << 20, 3<<20 + 7, 20 << 20} {
			for _, unit := range []string{"\x00", "receipt "} {
				payload := bytes.Repeat([]byte(unit), size/len(unit)+1)
				packed, flags := c.compress(payload, how)
				h := header{body: len(packed), raw: len(payload), flags: flags}
				if flags == flagNone || len(packed) > len(payload)/100+100 || len(payload) > mostUnpacked(len(packed)) {
					t.Errorf("%s, %d of %q: flags %d, %d bytes", how, len(payload), unit, flags, len(packed))
				}
				if _, n, fault := parseHeader(appendHeader(nil, h), msgtype.MaxSize); n == 0 || fault != FaultNone {
					t.Errorf("%s, %d of %q: %v", how, len(payload), unit, fault)
				}
				if back, fault := c.decompress(h, packed); fault != FaultNone || !bytes.Equal(back, payload) {
					t.Errorf("%s, %d of %q: came back as %d bytes, %v", how, len(payload), unit, len(back), fault)
				}
			}
		}
	}
}

// A large payload is compressed when one of its samples promises something, and
// not worked through when none does.
func TestCompressSamples(t *testing.T) {
	c := newCodec()
	const size = 1 << 20
	text := func(n int) []byte { return bytes.Repeat([]byte("receipt "), n/8) }
	for _, tc := range []struct {
		name    string
		from, n int // where the text is in the noise
		want    byte
	}{
		{"noise", 0, 0, flagNone},
		{"text", 0, size, flagS2},
		{"text at the beginning", 0, size / 4, flagS2},
		{"text in the middle", size * 3 / 8, size / 4, flagS2},
		{"text at the end", size * 3 / 4, size / 4, flagS2},
		{"too little text", 0, size / 32, flagNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payload := randomBytes(2, size)
			copy(payload[tc.from:], text(tc.n))
			packed, flags := c.compress(payload, msgtype.CompressS2)
			if flags != tc.want {
				t.Fatalf("flags %d, %d bytes of %d", flags, len(packed), size)
			}
			if flags == flagNone {
				return
			}
			back, fault := c.decompress(header{body: len(packed), raw: size, flags: flags}, packed)
			if fault != FaultNone || !bytes.Equal(back, payload) {
				t.Errorf("came back as %d bytes, %v", len(back), fault)
			}
		})
	}
}

func TestDecompressHostile(t *testing.T) {
	c := newCodec()
	zeros := make([]byte, 1<<20)
	s2zeros := s2.Encode(nil, zeros)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zzeros := enc.EncodeAll(zeros, nil)
	tests := []struct {
		name string
		h    header
		body []byte
		want Fault
	}{
		{"s2 says less than it holds", header{raw: 1000, flags: flagS2}, s2zeros, FaultBomb},
		{"s2 says more than it holds", header{raw: 2 << 20, flags: flagS2}, s2zeros, FaultBomb},
		{"s2 cut", header{raw: 1 << 20, flags: flagS2}, s2zeros[:len(s2zeros)/2], FaultCorrupt},
		{"s2 noise", header{raw: 1 << 20, flags: flagS2}, bytes.Repeat([]byte{0xff}, 40), FaultCorrupt},
		{"s2 asks for 4 GiB", header{raw: 1000, flags: flagS2}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, FaultBomb},
		{"s2 empty", header{raw: 10, flags: flagS2}, nil, FaultCorrupt},
		{"zstd says less than it holds", header{raw: 1000, flags: flagZstd}, zzeros, FaultBomb},
		{"zstd says more than it holds", header{raw: 2 << 20, flags: flagZstd}, zzeros, FaultCorrupt},
		{"zstd cut", header{raw: 1 << 20, flags: flagZstd}, zzeros[:len(zzeros)/2], FaultCorrupt},
		{"zstd noise", header{raw: 1000, flags: flagZstd}, randomBytes(3, 100), FaultCorrupt},
		{"two zstd frames", header{raw: 1 << 20, flags: flagZstd}, append(slices.Clone(zzeros), zzeros...), FaultBomb},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, fault := c.decompress(tt.h, tt.body)
			if fault != tt.want || out != nil {
				t.Errorf("%d bytes, %v; want %v", len(out), fault, tt.want)
			}
		})
	}
}

func FuzzDecompress(f *testing.F) {
	c := newCodec()
	text := []byte(strings.Repeat("the same again, ", 64))
	for _, how := range []msgtype.Compression{msgtype.CompressS2, msgtype.CompressZstd} {
		packed, flags := c.compress(text, how)
		f.Add(packed, flags, len(text))
	}
	f.Fuzz(func(t *testing.T, body []byte, flags byte, raw int) {
		raw = max(0, min(raw, 1<<20))
		out, fault := c.decompress(header{body: len(body), raw: raw, flags: flags}, body)
		if fault == FaultNone && len(out) != raw {
			t.Fatalf("%d bytes instead of %d", len(out), raw)
		}
		if cap(out) > 2*raw+64 {
			t.Fatalf("%d bytes allocated for %d", cap(out), raw)
		}
	})
}
