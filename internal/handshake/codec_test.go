package handshake

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

func messages() map[string]message {
	h := testHello(0xfeedfacecafebeef)
	least := Hello{VersionMin: 1, VersionMax: 1}
	return map[string]message{
		"hello":        {hello: &h},
		"least-hello":  {hello: &least},
		"refusal":      {refusal: &refusal{reason: ReasonTooManyPeers}},
		"refusal-full": {refusal: &refusal{reason: ReasonWrongChain, hello: &h}},
		"accept":       {accept: &accept{version: 2, session: 1 << 63}},
	}
}

func TestCodecRoundTrip(t *testing.T) {
	for name, m := range messages() {
		got, err := decode(m.encode())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(m.encode(), got.encode()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// helloWith is a hello message with fields of the caller's added.
func helloWith(extra func(b []byte) []byte) []byte {
	return appendBytes(nil, frameHello, extra(appendHello(nil, Hello{VersionMin: 1, VersionMax: 1})))
}

func TestDecodeRejects(t *testing.T) {
	only := func(num protowire.Number, v []byte) []byte {
		b := appendVarint(nil, helloVersionMin, 1)
		b = appendVarint(b, helloVersionMax, 1)
		return appendBytes(nil, frameHello, appendBytes(b, num, v))
	}
	fill := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	accept2 := message{accept: &accept{version: 2}}.encode()
	tests := map[string][]byte{
		"empty":            nil,
		"two messages":     append(bytes.Clone(accept2), accept2...),
		"duplicate field":  helloWith(func(b []byte) []byte { return appendBytes(b, helloChainID, []byte("x")) }),
		"many caps":        helloWith(func(b []byte) []byte { return bytes.Repeat(appendBytes(nil, helloCapability, []byte("c")), 33) }),
		"empty cap":        only(helloCapability, nil),
		"space in cap":     only(helloCapability, []byte("a b")),
		"long cap":         only(helloCapability, fill(MaxCapability+1)),
		"long chain":       only(helloChainID, fill(MaxChainID+1)),
		"chain not UTF-8":  only(helloChainID, []byte{0xff}),
		"long genesis":     only(helloGenesis, fill(MaxGenesis+1)),
		"long agent":       only(helloAgent, fill(MaxAgent+1)),
		"long payload":     only(helloPayload, fill(MaxPayload+1)),
		"version type":     appendBytes(nil, frameHello, appendBytes(nil, helloVersionMin, []byte{1})),
		"version range":    appendBytes(nil, frameHello, appendVarint(appendVarint(nil, 1, 5), 2, 4)),
		"version 0":        appendBytes(nil, frameHello, nil),
		"version 2^32":     appendBytes(nil, frameHello, appendVarint(appendVarint(nil, 1, 1), 2, 1<<32)),
		"hello is varint":  appendVarint(nil, frameHello, 1),
		"reason 0":         appendBytes(nil, frameRefusal, nil),
		"reason 2^16":      appendBytes(nil, frameRefusal, appendVarint(nil, refusalReason, 1<<16)),
		"reason twice":     appendBytes(nil, frameRefusal, appendVarint(appendVarint(nil, 1, 4), 1, 4)),
		"truncated":        {0x0a, 0x05, 0x08},
		"field number 0":   {0x00, 0x00},
		"unclosed group":   {0x23},
		"only an unknown":  appendVarint(nil, 9, 1),
		"instance varint":  appendBytes(nil, frameHello, appendVarint(appendVarint(appendVarint(nil, 1, 1), 2, 1), helloInstance, 7)),
		"accept twice ver": appendBytes(nil, frameAccept, appendVarint(appendVarint(nil, 1, 1), 1, 1)),
	}
	for name, b := range tests {
		_, err := decode(b)
		if _, ok := err.(protocolError); !ok {
			t.Errorf("%s: error %v, want a protocol error", name, err)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	b := helloWith(func(b []byte) []byte {
		b = appendVarint(b, 100, 1)
		b = appendVarint(b, 100, 2)
		return appendBytes(b, 9, []byte("later"))
	})
	b = appendBytes(b, 50, []byte("later"))
	if m, err := decode(b); err != nil || m.hello == nil {
		t.Errorf("%v, %v", m, err)
	}
}

var writeCorpus = flag.Bool("write-corpus", false, "write the seed corpora of the fuzz targets")

// TestCorpus writes the seeds when asked to, and else checks that they are there.
func TestCorpus(t *testing.T) {
	for target, framed := range map[string]bool{"FuzzDecode": false, "FuzzReadFrame": true, "FuzzAnswer": true} {
		dir := filepath.Join("testdata", "fuzz", target)
		for name, m := range messages() {
			b := m.encode()
			if framed {
				b = appendFrame(nil, b)
			}
			if target == "FuzzAnswer" {
				b = append(b, frameOf(message{accept: &accept{version: 2}})...)
			}
			file := filepath.Join(dir, name)
			if *writeCorpus {
				os.MkdirAll(dir, 0o755)
				os.WriteFile(file, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b), 0o644)
			}
			if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		}
	}
}

// Whatever decodes is within bounds, is fit to be shown, and survives another
// round unchanged.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			if _, ok := err.(protocolError); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		again, err := decode(m.encode())
		if err != nil {
			t.Fatalf("decoded message does not decode again: %v", err)
		}
		if !bytes.Equal(again.encode(), m.encode()) {
			t.Fatal("second round differs")
		}
		h := m.hello
		if m.refusal != nil {
			h = m.refusal.hello
		}
		if h == nil {
			return
		}
		if err := h.Validate(); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(h.Agent, "\n\r\x1b\x00") {
			t.Fatalf("agent %q", h.Agent)
		}
	})
}

// Reading takes exactly one frame from the stream, or fails.
func FuzzReadFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(append(bytes.Clone(b), "rest"...))
		body, err := readFrame(r)
		if err != nil {
			return
		}
		if len(body) > MaxFrame {
			t.Fatalf("body of %d bytes", len(body))
		}
		read := len(b) + len("rest") - r.Len()
		if want := appendFrame(nil, body); read != len(want) {
			t.Fatalf("read %d bytes for a frame of %d", read, len(want))
		}
	})
}
