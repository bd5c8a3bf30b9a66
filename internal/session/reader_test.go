package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/libp2p/go-libp2p/core/network"
)

// fakeStream gives bytes in pieces, then an error.
type fakeStream struct {
	network.Stream // nil: everything else panics
	data           []byte
	piece          int
	end            error
}

func (s *fakeStream) Read(b []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, s.end
	}
	n := min(len(b), len(s.data), s.piece)
	copy(b, s.data[:n])
	s.data = s.data[n:]
	return n, nil
}

func (s *fakeStream) Write(b []byte) (int, error) { return len(b), nil }

func (s *fakeStream) SetReadDeadline(time.Time) error {
	return nil
}

// readAll runs a reader over bytes and returns what it delivered.
func readAll(data []byte, maxSize, piece int, end error) (got [][]byte, err error) {
	return readFrom(&fakeStream{data: data, piece: piece, end: end}, maxSize)
}

func readFrom(raw *fakeStream, maxSize int) (got [][]byte, err error) {
	return readBatches(raw, maxSize, func([][]byte) {})
}

// readBatches shows what is handed over at once.
func readBatches(raw *fakeStream, maxSize int, each func(batch [][]byte)) (got [][]byte, err error) {
	err = testReader(raw, maxSize, func(batch [][]byte) {
		got = append(got, batch...)
		each(batch)
	}).run()
	return got, err
}

// testReader is a reader of a stream of one type, without an engine round it.
func testReader(raw *fakeStream, maxSize int, deliver func(batch [][]byte)) *reader {
	cfg := Config{Obs: obs.Discard(), Deliver: func(_ context.Context, _ *Session, _ string, batch [][]byte) error {
		deliver(batch)
		return nil
	}}.withDefaults()
	e := &Engine{cfg: cfg, codec: newCodec(), total: newTotals(cfg.Obs)}
	s := &Session{e: e, ctx: context.Background(), start: time.Now(), budget: pacing.NewBudget()}
	t := newMessageType("x", cfg.Obs, e.total)
	t.set(&settings{spec: msgtype.Spec{Name: "x", MaxSize: maxSize}, receive: true})
	return &reader{s: s, in: &receiver{t: t}, raw: raw, waits: new(deadline)}
}

func frames(c *codec, how msgtype.Compression, payloads ...[]byte) (b []byte) {
	for _, p := range payloads {
		body, flags := c.compress(p, how)
		b = append(appendHeader(b, header{body: len(body), raw: len(p), flags: flags}), body...)
	}
	return b
}

func TestReader(t *testing.T) {
	c := newCodec()
	var payloads [][]byte
	for i, n := range []int{0, 1, 14, 15, 100, 4095, 4096, 5000, 64 << 10, 0, 0, 100_000, 7, 300_000, 3} {
		payloads = append(payloads, randomBytes(uint64(i), n), bytes.Repeat([]byte("text "), n/5))
	}
	for _, how := range []msgtype.Compression{msgtype.CompressNone, msgtype.CompressS2, msgtype.CompressZstd} {
		data := frames(c, how, payloads...)
		for _, piece := range []int{15, 16, 17, 1000, 64 << 10, 1 << 30} {
			got, err := readAll(data, 1<<20, piece, io.EOF)
			if err != nil || !slices.EqualFunc(got, payloads, bytes.Equal) {
				t.Errorf("%s in pieces of %d: %d of %d messages, %v", how, piece, len(got), len(payloads), err)
			}
		}
	}
}

func TestReaderFaults(t *testing.T) {
	c := newCodec()
	ok := frames(c, msgtype.CompressNone, []byte("first"), []byte("second"))
	zeros := frames(c, msgtype.CompressS2, make([]byte, 100_000))
	corrupt := slices.Clone(zeros)
	size := binary.AppendUvarint(nil, 100_000)
	corrupt[bytes.LastIndex(corrupt, size)+len(size)] = 1 // a copy, before there is anything to copy
	reset := errors.New("reset")
	gone := fmt.Errorf("%w: %w", network.ErrReset, io.EOF) // of a stream whose connection has ended
	tests := []struct {
		name string
		tail []byte
		end  error
		want error
	}{
		{"proper end", nil, io.EOF, nil},
		{"length too large", binary.AppendUvarint(nil, 1<<20+1), io.EOF, FaultOversize},
		{"length of 2^63", binary.AppendUvarint(nil, 1<<63), io.EOF, FaultOversize},
		{"unknown flags", []byte{3, 64, 1, 2, 3}, io.EOF, FaultFlags},
		{"cut in the header", []byte{200}, io.EOF, FaultTruncated},
		{"cut in a small body", []byte{200, 1, 0, 'x'}, io.EOF, FaultTruncated},
		{"cut in a large body", append(binary.AppendUvarint(nil, 1<<20), 0, 'x'), io.EOF, FaultTruncated},
		{"reset in the middle is no fault", []byte{200, 1, 0, 'x'}, reset, reset},
		{"connection gone in the middle", []byte{200, 1, 0, 'x'}, gone, gone},
		{"connection gone in the header", []byte{200}, gone, gone},
		{"connection gone in a large body", append(binary.AppendUvarint(nil, 1<<20), 0, 'x'), gone, gone},
		{"connection gone between frames", nil, gone, gone},
		{"bomb", append([]byte{9, 1}, binary.AppendUvarint(nil, 1<<20+1)...), io.EOF, FaultBomb},
		{"corrupt", corrupt, io.EOF, FaultCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 1 << 20} {
				got, err := readAll(slices.Concat(ok, tt.tail), 1<<20, piece, tt.end)
				if !errors.Is(err, tt.want) {
					t.Errorf("in pieces of %d: %v, want %v", piece, err, tt.want)
				}
				if len(got) != 2 || string(got[1]) != "second" {
					t.Errorf("in pieces of %d: what came before was lost: %q", piece, got)
				}
			}
		})
	}
}

// TestReaderMemory declares far more than it sends.
func TestReaderMemory(t *testing.T) {
	const declared = 512 << 20
	data := append(binary.AppendUvarint(nil, declared), 0)
	data = append(data, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readAll(data, declared, 1<<20, io.EOF); err != FaultTruncated {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated for a frame of which 1000 have come", n)
	}
	for have, size := 1, 1<<30; have < size; {
		room := len(growBody(nil, have, size))
		if room > max(growStep, have*growFactor) {
			t.Fatalf("%d bytes allocated when %d have come", room, have)
		}
		if room > 64<<20 {
			break
		}
		have = room
	}
}

func faultOf(err error) Fault {
	f, _ := errors.AsType[Fault](err)
	return f
}

// FuzzReader reads arbitrary bytes in arbitrary pieces: it must end, deliver no
// message above the maximum, and judge them alike however they are cut.
func FuzzReader(f *testing.F) {
	c := newCodec()
	f.Add(frames(c, msgtype.CompressNone, nil, []byte("a"), []byte(strings.Repeat("b", 5000))), 3)
	f.Add(frames(c, msgtype.CompressS2, make([]byte, 9000)), 100)
	f.Add(frames(c, msgtype.CompressZstd, make([]byte, 9000)), 100)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff}, 1)
	f.Add([]byte{200, 1, 0, 'x'}, 2)
	f.Add([]byte{9, 1, 0x80, 0x80, 0x40}, 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		const limit = 10_000
		got, err := readAll(data, limit, max(1, min(piece, 1<<20)), io.EOF)
		for _, m := range got {
			if len(m) > limit {
				t.Fatalf("message of %d bytes", len(m))
			}
		}
		whole, wholeErr := readAll(data, limit, 1<<20, io.EOF)
		if faultOf(err) != faultOf(wholeErr) || !slices.EqualFunc(got, whole, bytes.Equal) {
			t.Fatalf("in pieces: %d, %v; whole: %d, %v", len(got), err, len(whole), wholeErr)
		}
	})
}
