package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

// script is a source that says things bit by bit, and notes deadlines. When it has no
// more to say it ends, or if mute waits for the deadline.
type script struct {
	parts    [][]byte
	deadline time.Time
	sets     int // of the deadline
	reads    int
	mute     func()
}

func (s *script) Read(b []byte) (int, error) {
	s.reads++
	if len(s.parts) == 0 {
		if s.mute == nil {
			return 0, io.EOF
		}
		time.Sleep(time.Until(s.deadline))
		s.mute()
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func (s *script) SetReadDeadline(t time.Time) error {
	s.deadline = t
	s.sets++
	return nil
}

func framed(sizes ...int) (b []byte) {
	for i, n := range sizes {
		b = binary.AppendUvarint(b, uint64(n))
		b = append(b, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	return b
}

// readAll cuts what comes into frames.
func readAll(f *frames) (sizes []int, err error) {
	for {
		for {
			b, err := f.next()
			if err != nil {
				return sizes, err
			}
			if b == nil {
				break
			}
			for _, c := range b {
				if c != b[0] {
					return sizes, errors.New("frames run into each other")
				}
			}
			sizes = append(sizes, len(b))
		}
		if _, err := f.fill(); err != nil {
			return sizes, err
		}
	}
}

func TestFrames(t *testing.T) {
	sizes := []int{1, 100, 2047, 2048, 2049, 5000, 64 << 10, 65 << 10, 200_000, 3, 1 << 20, 7}
	all := framed(sizes...)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int{1 << 30, 100_000, 1000} {
		var parts [][]byte
		for rest := all; len(rest) > 0; {
			n := min(1+rng.IntN(most), len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		f := &frames{s: &script{parts: parts}, limit: 1 << 20}
		got, err := readAll(f)
		if err != io.EOF || len(got) != len(sizes) {
			t.Fatalf("parts of %d: %v, %v", most, got, err)
		}
		for i := range got {
			if got[i] != sizes[i] {
				t.Errorf("frame %d has %d bytes", i, got[i])
			}
		}
	}
}

func TestFrameErrors(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want error
	}{
		{framed(0, 0, 0), io.EOF},
		{binary.AppendUvarint(nil, 1<<20+1), errFrameTooLarge},
		{binary.AppendUvarint(nil, 1<<63), errFrameTooLarge},
		{bytes.Repeat([]byte{0xff}, 11), errFrameLength},
		{bytes.Repeat([]byte{0x80}, 10), errFrameLength},
		{binary.AppendUvarint(nil, 1<<20), io.EOF},
	} {
		f := &frames{s: &script{parts: [][]byte{c.b}}, limit: 1 << 20}
		if got, err := readAll(f); !errors.Is(err, c.want) || len(got) != 0 {
			t.Errorf("%x: %v, %v", c.b, got, err)
		}
	}
}

// Row 51: memory grows with what has come, not with the length that a frame claims,
// and is given back.
func TestFrameMemory(t *testing.T) {
	const limit = 8 << 20
	f := &frames{s: &script{parts: [][]byte{binary.AppendUvarint(nil, limit)}}, limit: limit}
	_, _ = readAll(f)
	if len(f.buf) > idleBuffer {
		t.Errorf("%d bytes for a length alone", len(f.buf))
	}
	for _, came := range []int{10_000, 100_000, 1 << 20} {
		f := &frames{s: &script{parts: [][]byte{binary.AppendUvarint(nil, limit), make([]byte, came)}}, limit: limit}
		_, _ = readAll(f)
		if len(f.buf) > max(batchSize, 2*came+batchSize) {
			t.Errorf("%d bytes for a frame of which %d have come", len(f.buf), came)
		}
	}
	f = &frames{s: &script{parts: [][]byte{framed(1 << 20)}}, limit: limit}
	if got, _ := readAll(f); len(got) != 1 || len(f.buf) > warmBuffer {
		t.Errorf("%d bytes are held between frames", len(f.buf))
	}
}

// What comes at once is read at once, on a stream on which more than a little comes. A
// buffer that is held for that is given back when the stream has been silent.
func TestFramesAreReadAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const messages = 20
		s := &script{}
		f := &frames{s: s, limit: 1 << 20}
		take := func(parts ...[]byte) {
			t.Helper()
			s.parts = append(s.parts, parts...)
			for b, err := f.next(); b == nil; b, err = f.next() {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.fill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range messages {
			take(framed(1100))
			time.Sleep(time.Second)
		}
		if s.reads > messages+1 {
			t.Errorf("%d messages were read in %d parts", messages, s.reads)
		}
		if most := messages/int(deadlineStep/time.Second) + 1; s.sets > most {
			t.Errorf("the deadline was set %d times, more than %d", s.sets, most)
		}
		begin, silent := time.Now(), time.Duration(0)
		s.mute = func() {
			silent = time.Since(begin)
			s.mute = func() {
				if len(f.buf) > idleBuffer {
					t.Errorf("%d bytes are held on a stream that is silent", len(f.buf))
				}
				s.parts = [][]byte{framed(1)}
			}
		}
		take()
		if silent == 0 || silent > warmth {
			t.Errorf("the buffer was given back after %v", silent)
		}
		if !s.deadline.IsZero() {
			t.Error("a deadline on a stream that is silent")
		}
	})
}

// Row 51: a frame that has begun has a deadline that follows its size; there is none
// between frames.
func TestFrameDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &script{parts: [][]byte{framed(10), binary.AppendUvarint(nil, 1<<20), make([]byte, 400)}}
		f := &frames{s: s, limit: 1 << 20}
		fill := func() {
			t.Helper()
			if _, err := f.fill(); err != nil {
				t.Fatal(err)
			}
			for b, err := f.next(); b != nil || err != nil; b, err = f.next() {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		fill()
		if !s.deadline.IsZero() {
			t.Error("a deadline before a frame has begun")
		}
		fill()
		begin := time.Now()
		fill()
		if d := s.deadline.Sub(begin); d != frameStall {
			t.Errorf("a frame may stand still for %v", d)
		}
		time.Sleep(4 * time.Minute)
		s.parts = [][]byte{{0}}
		fill()
		if d := s.deadline.Sub(begin); d < 4*time.Minute || d > 5*time.Minute {
			t.Errorf("a frame of 1 MiB may take %v", d)
		}
		s.parts = [][]byte{make([]byte, 1<<20-401)}
		for len(s.parts) > 0 {
			fill()
		}
		// The deadline of a frame that is whole does no harm to those that follow.
		fired := time.Time{}
		s.mute = func() { fired, s.parts = time.Now(), [][]byte{framed(1)} }
		fill()
		if fired.IsZero() || !s.deadline.IsZero() {
			t.Errorf("fired %v, deadline %v", fired, s.deadline)
		}
	})
}

// A frame that stands still ends the stream after frameStall, though the deadline was
// set for an earlier part; and many parts do not set one each.
func TestFrameStall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const parts = 100
		s := &script{parts: [][]byte{binary.AppendUvarint(nil, 1<<20)}, mute: func() {}}
		f := &frames{s: s, limit: 1 << 20}
		for range parts {
			if _, err := f.fill(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(frameStall / parts)
			s.parts = append(s.parts, []byte{1})
		}
		if most := int(frameStall/deadlineStep) + 1; s.sets > most {
			t.Errorf("the deadline was set %d times, more than %d", s.sets, most)
		}
		if _, err := f.fill(); err != nil { // what is left
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := f.fill(); !neterr.IsTimeout(err) || time.Since(begin) != frameStall {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(framed(1, 0, 300, 5), byte(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff}, byte(1))
	f.Add(framed(4000)[:2000], byte(200))
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		var parts [][]byte
		for rest := b; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		fr := &frames{s: &script{parts: parts}, limit: 5000}
		total := 0
		for {
			for {
				frame, err := fr.next()
				if err != nil {
					return
				}
				if frame == nil {
					break
				}
				if len(frame) == 0 || len(frame) > 5000 {
					t.Fatalf("a frame of %d bytes", len(frame))
				}
				total += len(frame)
			}
			if _, err := fr.fill(); err != nil {
				break
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of %d", total, len(b))
		}
	})
}
