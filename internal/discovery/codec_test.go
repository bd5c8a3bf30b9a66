package discovery

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

func varintField(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func bytesField(num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// is tells whether err is want, a Fault or another error.
func is(err, want error) bool {
	var f Fault
	if errors.As(want, &f) {
		var got Fault
		return errors.As(err, &got) && got == f
	}
	return errors.Is(err, want)
}

func TestDecodeRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		body []byte
		want int
		err  error
	}{
		{"one", encodeRequest(1), 1, nil},
		{"most", encodeRequest(MaxRecords), MaxRecords, nil},
		{"too many", encodeRequest(1000), MaxRecords, nil},
		{"largest", varintField(1, math.MaxUint64), MaxRecords, nil},
		{"unknown fields", concat(bytesField(2, []byte("x")), encodeRequest(3), varintField(99, 1)), 3, nil},
		{"empty", nil, 0, FaultMalformed},
		{"zero", encodeRequest(0), 0, FaultMalformed},
		{"twice", concat(encodeRequest(3), encodeRequest(3)), 0, FaultMalformed},
		{"wrong type", bytesField(1, []byte{1}), 0, FaultMalformed},
		{"cut", encodeRequest(300)[:2], 0, FaultMalformed},
		{"no tag", []byte{0}, 0, FaultMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeRequest(c.body)
			if got != c.want || !is(err, c.err) {
				t.Errorf("got %d, %v, want %d, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestReadReply(t *testing.T) {
	a, b := []byte("record a"), []byte("record b")
	full := bytes.Repeat([]byte{1}, MaxRecord)
	frame := func(parts ...[]byte) []byte { return appendFrame(nil, concat(parts...)) }
	many := make([][]byte, MaxRecords)
	for i := range many {
		many[i] = full
	}
	for _, c := range []struct {
		name string
		in   []byte
		want [][]byte
		err  error
	}{
		{"none", frame(), nil, nil},
		{"two", frame(encodeReply([][]byte{a, b})), [][]byte{a, b}, nil},
		{"full", frame(encodeReply(many)), many, nil},
		{"unknown fields", frame(varintField(7, 7), bytesField(1, a)), [][]byte{a}, nil},
		{"one too many", frame(encodeReply(append(many, a))), nil, FaultCount},
		{"large record", frame(bytesField(1, append(full, 1))), nil, FaultOversize},
		{"wrong type", frame(varintField(1, 1)), nil, FaultMalformed},
		{"garbage", frame([]byte("\xff\xff\xff")), nil, FaultMalformed},
		{"cut field", frame(bytesField(1, a)[:4]), nil, FaultMalformed},
		{"trailing", append(frame(bytesField(1, a)), 0), nil, FaultTrailing},
		{"second reply", concat(frame(bytesField(1, a)), frame(bytesField(1, b))), nil, FaultTrailing},
		{"nothing", nil, nil, FaultTruncated},
		{"cut length", []byte{0x80}, nil, FaultTruncated},
		{"cut body", frame(bytesField(1, a))[:5], nil, FaultTruncated},
		{"length above the limit", protowire.AppendVarint(nil, maxReply+1), nil, FaultOversize},
		{"length 2^63", protowire.AppendVarint(nil, 1<<63), nil, FaultOversize},
		{"endless length", bytes.Repeat([]byte{0xff}, 20), nil, FaultOversize},
		{"padded length", []byte{0x80, 0x00}, nil, FaultMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(c.in), iotest.OneByteReader(bytes.NewReader(c.in))} {
				got, err := readReply(r, MaxRecords)
				if !is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				if d := cmp.Diff(c.want, got); err == nil && d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// A broken connection is nobody's fault.
func TestReadReplyReset(t *testing.T) {
	broken := errors.New("reset")
	for _, sent := range []string{"", "\x80", "\x05ab"} {
		_, err := readReply(io.MultiReader(strings.NewReader(sent), iotest.ErrReader(broken)), 1)
		var f Fault
		if !errors.Is(err, broken) || errors.As(err, &f) {
			t.Errorf("after %q: %v", sent, err)
		}
	}
}

func TestReadReplyCountsWhatWasAsked(t *testing.T) {
	in := appendFrame(nil, encodeReply([][]byte{{1}, {2}, {3}}))
	if _, err := readReply(bytes.NewReader(in), 3); err != nil {
		t.Errorf("three of three: %v", err)
	}
	if _, err := readReply(bytes.NewReader(in), 2); !is(err, FaultCount) {
		t.Errorf("three of two: %v", err)
	}
}

// A length alone makes nobody allocate.
func TestReadFrameAllocatesWhatArrives(t *testing.T) {
	in := append(protowire.AppendVarint(nil, maxReply), "short"...)
	n := testing.AllocsPerRun(10, func() {
		if _, err := readFrame(bytes.NewReader(in), maxReply); !is(err, FaultTruncated) {
			t.Error(err)
		}
	})
	if n > 16 {
		t.Errorf("%v allocations", n)
	}
	var r countingReader
	if _, err := readFrame(&r, 10); !is(err, FaultOversize) || r.n > maxPrefix {
		t.Errorf("%v after %d bytes", err, r.n)
	}
}

// countingReader gives the length 2^63 again and again.
type countingReader struct{ n int }

func (r *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	r.n += len(p)
	return len(p), nil
}

func TestFaultNames(t *testing.T) {
	seen := map[string]bool{}
	for f := FaultOversize; f <= FaultTrailing; f++ {
		if seen[f.String()] || strings.HasPrefix(f.String(), "fault") {
			t.Errorf("fault %d is called %q", uint8(f), f)
		}
		seen[f.String()] = true
	}
	if got := Fault(200).String(); got != "fault 200" {
		t.Error(got)
	}
}
