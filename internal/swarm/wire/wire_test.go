package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChunks(t *testing.T) {
	for _, tt := range []struct{ size, chunk, chunks int }{
		{1, 16 << 10, 1}, {16 << 10, 16 << 10, 1}, {16<<10 + 1, 16 << 10, 2},
		{1 << 20, 16 << 10, 64}, {2 << 20, 16 << 10, 128}, {2<<20 + 1, 32 << 10, 65},
		{4 << 20, 32 << 10, 128}, {8 << 20, 64 << 10, 128}, {16 << 20, 64 << 10, 256},
		{MaxSize, 64 << 10, MaxChunks},
	} {
		if c, n := ChunkSize(tt.size), Chunks(tt.size); c != tt.chunk || n != tt.chunks {
			t.Errorf("%d: %d chunks of %d", tt.size, n, c)
		}
	}
}

func TestNames(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 100_000)
	m := NewManifest("block", data, []byte("h"))
	id := m.ID("net")
	change := func(what string, f func(*Manifest), sameDigest bool) {
		c := *m
		c.Sums = slices.Clone(m.Sums)
		f(&c)
		if c.ID("net") == id {
			t.Errorf("%s: the same ID", what)
		}
		if (c.Digest("net") == m.Digest("net")) != sameDigest {
			t.Errorf("%s: same digest: %t", what, !sameDigest)
		}
	}
	change("header", func(c *Manifest) { c.Header = []byte("g") }, true)
	change("type", func(c *Manifest) { c.Type = "bloc" }, false)
	change("size", func(c *Manifest) { c.Size++ }, false)
	change("chunk", func(c *Manifest) { c.Sums[3][0]++ }, false)
	if m.ID("ne") == id {
		t.Error("the network does not count")
	}
	if from, to := m.Span(6); from != 98304 || to != 100_000 || m.Validate() != nil {
		t.Error(from, to, m.Validate())
	}
}

func frames() []Frame {
	m := NewManifest("block", make([]byte, 300_000), []byte("header"))
	return []Frame{
		{Kind: Announce, Number: 1, Manifest: m, Whole: true},
		{Kind: Announce, Number: 1 << 31, Manifest: m, Coming: SetOf(1, 17)},
		{Kind: Have, Number: 3, Have: SetOf(0, 1, 2, 3, 4, 5, 6, 7, 8), Soon: SetOf(200), Coming: SetOf(MaxChunks - 1)},
		{Kind: Have, Number: 3, Yours: true},
		{Kind: Want, Number: 3, Yours: true, Chunks: Full(128)},
		{Kind: Cancel, Number: 3, Chunks: SetOf(63, 64)},
		{Kind: Chunk, Number: 9, Yours: true, Index: 7, Data: []byte("bytes")},
		{Kind: Gone, Number: 9, Reason: Busy},
	}
}

// body takes the length off a frame.
func body(t testing.TB, b []byte) []byte {
	n, rest, ok := uvarint(b, uint64(MaxFrame))
	if !ok || int(n) != len(rest) {
		t.Fatalf("length %d of %d bytes", n, len(rest))
	}
	return rest
}

func TestFrames(t *testing.T) {
	for _, f := range frames() {
		b := body(t, Append(nil, &f))
		got, err := Decode(b)
		if err != nil {
			t.Errorf("%d: %v", f.Kind, err)
			continue
		}
		if !reflect.DeepEqual(normal(got), normal(f)) {
			t.Errorf("got  %+v\nwant %+v", got, f)
		}
		for n := range b {
			if _, err := Decode(b[:n]); err == nil && f.Kind != Chunk {
				t.Errorf("kind %d cut to %d of %d bytes is taken", f.Kind, n, len(b))
			}
		}
		if _, err := Decode(append(bytes.Clone(b), 0)); err == nil && f.Kind != Chunk {
			t.Errorf("kind %d with one byte more is taken", f.Kind)
		}
	}
}

// normal gives a set one form, and an empty list another than none.
func normal(f Frame) Frame {
	for _, s := range []*Set{&f.Coming, &f.Have, &f.Soon, &f.Chunks} {
		*s = SetOf(slices.Collect(s.All())...)
	}
	return f
}

func TestHostileFrames(t *testing.T) {
	ann := body(t, Append(nil, &frames()[0]))
	for name, b := range map[string][]byte{
		"empty":               {},
		"no number":           {2},
		"long number":         {2, 0x80, 0x00, 0, 0, 0},
		"set beyond":          {3, 2, 4, 1},
		"set without end":     {3, 2, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"chunk too high":      {3, 2, 4, 0x80, 0x08},
		"bitmap with a zero":  {3, 2, 5, 1, 0},
		"no bytes":            {4, 2, 1},
		"chunk beyond":        {4, 2, 0x80, 0x08, 1},
		"more than a piece":   append([]byte{4, 2, 1}, make([]byte, Piece+1)...),
		"the receiver's":      append([]byte{1, 3}, ann[2:]...),
		"announcement, short": ann[:40],
		"empty type":          append([]byte{1, 2, 0}, ann[8:]...),
	} {
		if f, err := Decode(b); err == nil {
			t.Errorf("%s: %+v", name, f)
		} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f, err := Decode([]byte{99, 1, 2, 3}); err != nil || f.Kind != 99 {
		t.Errorf("another kind: %+v, %v", f, err)
	}
	if n := len(Append(nil, &Frame{Kind: Announce, Manifest: NewManifest("b", make([]byte, MaxSize), make([]byte, MaxHeader)), Coming: Full(MaxChunks)})); n > MaxFrame {
		t.Errorf("the largest announcement has %d bytes", n)
	}
}

// TestShorterForm: a set takes the form that is shorter.
func TestShorterForm(t *testing.T) {
	if n := len(appendSet(nil, Full(128))); n > 20 {
		t.Errorf("all of 128: %d bytes", n)
	}
	if n := len(appendSet(nil, SetOf(1000))); n > 4 {
		t.Errorf("one: %d bytes", n)
	}
	if n := len(appendSet(nil, nil)); n != 1 {
		t.Errorf("none: %d bytes", n)
	}
}

// TestLengths: the length of a frame has one form, as all numbers have.
func TestLengths(t *testing.T) {
	for _, n := range []int{1, 127, 128, 16383, 16384, MaxFrame} {
		b := binary.AppendUvarint(nil, uint64(n))
		got, err := ReadLength(bytes.NewReader(b))
		if got != n || err != nil {
			t.Errorf("%d: %d, %v", n, got, err)
		}
		for cut := range len(b) {
			want := io.ErrUnexpectedEOF
			if cut == 0 {
				want = io.EOF
			}
			if _, err := ReadLength(bytes.NewReader(b[:cut])); err != want {
				t.Errorf("%d cut to %d bytes: %v", n, cut, err)
			}
		}
		if b[len(b)-1] |= 0x80; len(b) < lengthMost {
			if got, err := ReadLength(bytes.NewReader(append(b, 0))); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d in a longer form: %d, %v", n, got, err)
			}
		}
	}
	for name, b := range map[string][]byte{
		"zero":          {0},
		"zero, longer":  {0x80, 0},
		"beyond":        binary.AppendUvarint(nil, uint64(MaxFrame+1)),
		"four bytes":    {0x81, 0x80, 0x80, 0x01},
		"without end":   bytes.Repeat([]byte{0x80}, 10),
		"beyond 64 bit": bytes.Repeat([]byte{0xff}, 10),
	} {
		r := bytes.NewReader(b)
		if n, err := ReadLength(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if read := len(b) - r.Len(); read > lengthMost {
			t.Errorf("%s: %d bytes were read", name, read)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, fr := range frames() {
		f.Add(body(f, Append(nil, &fr)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := Decode(b)
		if err != nil || fr.Kind < Announce || fr.Kind > Gone {
			return
		}
		// What was read can be written, and is read as the same then.
		again, err := Decode(body(t, Append(nil, &fr)))
		if err != nil || !reflect.DeepEqual(normal(fr), normal(again)) {
			t.Fatalf("%+v became %+v, %v", fr, again, err)
		}
	})
}

func BenchmarkManifest(b *testing.B) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		NewManifest("block", data, nil).ID("net")
	}
}
