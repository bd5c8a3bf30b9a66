package reqresp

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// FuzzFrames reads any bytes as the frames of a stream: nothing panics, and nothing
// is allocated beyond what has come.
func FuzzFrames(f *testing.F) {
	for _, h := range []header{{kind: kindOpen, end: true, call: 1, size: 3}, {kind: kindData, call: 1, size: 2}, {kind: kindCredit, call: 9, size: 1}} {
		f.Add(append(appendHeader(nil, h), 1, 2, 3))
	}
	f.Add(append(appendHeader(nil, header{kind: kindData, call: 1, size: 5}), 0xff, 0xff, 0xff, 0x7f, 0))
	f.Add(append(appendHeader(nil, header{kind: kindError, size: 4}), appendFailure(nil, failure{Busy, time.Second, "x"})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(bytes.NewReader(b))
		var in incoming
		in.init(1<<30, minWindow)
		for {
			h, err := r.next()
			if err != nil {
				if f, ok := errors.AsType[Fault](err); !ok && err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatal(f, err)
				}
				return
			}
			if again := appendHeader(nil, h); !bytes.Contains(b, again) {
				t.Fatalf("%+v is not how it came", h)
			}
			switch h.kind {
			case kindOpen:
				if _, err := readTerms(r, Stream); err != nil {
					continue
				}
				fallthrough
			case kindData:
				if _, err := in.read(r, h.end, nil); err != nil {
					return
				}
				if cap(in.part.buf) > max(firstPiece, growth*len(b)) {
					t.Fatalf("%d bytes allocated for %d", cap(in.part.buf), len(b))
				}
			case kindError:
				if f, err := readFailure(r); err == nil && (f.text != obs.Clean(f.text) || f.code == 0) {
					t.Fatalf("%+v", f)
				}
			case kindCredit:
				r.uvarint()
			}
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte{1})
	f.Add([]byte{0x80, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := readHead(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, appendHead(nil, n)) {
			t.Fatalf("%d is not how it came", n)
		}
	})
}

// FuzzServer plays any bytes to a server, after its head: it neither panics nor
// keeps anything when the stream has ended.
func FuzzServer(f *testing.F) {
	open := append(appendHeader(nil, header{kind: kindOpen, end: true, call: 1, size: 4}), 100, 0, 1, 'x')
	f.Add(open)
	f.Add(append(open, open...))
	f.Add(append(append(open[:len(open):len(open)], appendHeader(nil, header{kind: kindCancel, call: 1})...), 5, 1, 1, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := New(Config{Network: "x", Peers: &node{}, Offers: shelf{newBook(), "x"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []*Spec{{Name: "u", Kind: Unary}, {Name: "s", Kind: Stream}, {Name: "l", Kind: Upload}} {
			m := e.newMethod(*spec)
			s := &server{e: e, m: m, from: "x", stream: deadStream{}, calls: make(map[uint64]*served)}
			s.out.init()
			if spec.Kind == Unary {
				m.handler.Store(&echo)
			}
			s.end(s.read(newFrameReader(bytes.NewReader(b))))
			e.wg.Wait()
			if e.desk.quota.calls != 0 || e.desk.quota.bytes != 0 || len(s.calls) != 0 || m.admission.running != 0 || m.admission.waiting != 0 {
				t.Fatalf("left behind: %+v %+v", e.desk.quota, m.admission)
			}
		}
		e.cancel()
	})
}
