package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

func offerOfTest(number uint32, name string) entry {
	return entry{number, Offer{KindMessage, name, 1 << 20, Taken | Broadcast, 0}}
}

func TestEntries(t *testing.T) {
	for _, e := range []entry{
		offerOfTest(1, "tx"), {maxNumber, Offer{KindMethod, "a.b-c_D", msgtype.MaxSize, FirstOfMethods | 1, 0}}, {number: 7},
		{3, Offer{KindMessage, "block", 9, Taken, 1}}, {4, Offer{KindLarge, "block", 9, Taken, maxNumber}},
	} {
		b := appendEntry(nil, e)
		got, n, fault := parseEntry(append(b, 1, 2, 3))
		if got != e || n != len(b) || fault != FaultNone {
			t.Errorf("%+v came back as %+v, %d of %d bytes, %v", e, got, n, len(b), fault)
		}
		for i := range b { // the length at the front bounds what is read
			if _, _, fault := parseEntry(b[:i]); fault != FaultControl {
				t.Errorf("%d of %d bytes: %v", i, len(b), fault)
			}
		}
	}
	for name, bad := range map[string][]byte{
		"number 0": {2, 0, 0}, "no kind": {1, 1}, "no name": {4, 1, 1, 0, 1}, "a bad name": {7, 1, 1, 1, '/', 1, 0, 0},
		"maximum 0": {6, 1, 1, 1, 'a', 0, 0}, "no properties": {5, 1, 1, 1, 'a', 1}, "empty": {0},
		"rules not short":  {8, 1, 1, 1, 'a', 1, 0, 0x80, 0},
		"number not short": {3, 0x81, 0, 0},
	} {
		if _, _, fault := parseEntry(bad); fault != FaultControl {
			t.Errorf("%s: %v", name, fault)
		}
	}
	if e, n, fault := parseEntry([]byte{4, 9, 77, 1, 2}); e.number != 9 || e.offer.Kind != 77 || n != 5 || fault != FaultNone {
		t.Errorf("an unknown kind: %+v, %d, %v", e, n, fault)
	}
}

// What one side tells, frame by frame, the other one knows: the last state of each
// number, however often it changed meanwhile.
func TestOfferLog(t *testing.T) {
	log, book := new(offerLog), new(offerBook)
	told, frames := uint64(0), 0
	tell := func() {
		for told < log.version() {
			var b []byte
			b, told = log.frame(nil, told)
			frames++
			if len(b) == 0 {
				continue
			}
			_, body, n, _, fault := parseControl(b)
			if n != len(b) || fault != FaultNone || len(body) > maxOfferFrame+msgtype.MaxName {
				t.Fatalf("a frame of %d bytes, %d, %v", len(b), n, fault)
			}
			for len(body) > 0 {
				e, n, fault := parseEntry(body)
				if fault == FaultNone {
					_, fault = book.apply(e, n)
				}
				if fault != FaultNone {
					t.Fatal(fault)
				}
				body = body[n:]
			}
		}
	}
	change := func(e entry) {
		t.Helper()
		next, err := log.with(e)
		if err != nil {
			t.Fatal(err)
		}
		log = next
	}
	same := func() {
		t.Helper()
		stands := 0
		for _, e := range log.entries {
			if e.offer.Kind == kindWithdrawn {
				continue
			}
			stands++
			if o, n, ok := book.find(e.offer.Kind, e.offer.Name); !ok || o != e.offer || n != e.number {
				t.Errorf("%+v is known as %+v, %d, %v", e.entry, o, n, ok)
			}
		}
		if stands != len(book.entries) || stands != log.count || book.bytes != log.bytes {
			t.Errorf("%d stand, %d counted, %d known; %d bytes, %d known", stands, log.count, len(book.entries), log.bytes, book.bytes)
		}
	}
	for i := range 1000 {
		change(offerOfTest(uint32(i+1), "t"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676))))
	}
	change(entry{number: 5}) // gone before anybody is told
	tell()
	same()
	if frames != 4 {
		t.Errorf("%d frames", frames)
	}
	for i := range 100 {
		change(entry{number: uint32(i%10 + 20)})
		change(offerOfTest(uint32(i%10+20), "again"+string(rune('a'+i%10))))
		change(entry{number: uint32(i + 500)})
	}
	frames = 0
	tell()
	same()
	if frames != 1 {
		t.Errorf("%d frames for 110 changes", frames)
	}
	if _, err := log.with(entry{number: 1 << 20}); err != nil {
		t.Error("withdrawing what was never there")
	}
	for i := 0; ; i++ {
		next, err := log.with(offerOfTest(uint32(10_000+i), "more"))
		if err != nil {
			if !errors.Is(err, ErrTooManyOffers) || log.count != MaxOffers {
				t.Errorf("%v with %d", err, log.count)
			}
			break
		}
		log = next
	}
}

// FuzzOffers applies arbitrary frames of offers: the book stays within its bounds,
// and what was taken from it can be found.
func FuzzOffers(f *testing.F) {
	f.Add(appendEntry(nil, offerOfTest(1, "tx")))
	f.Add(appendEntry(appendEntry(nil, offerOfTest(1, "tx")), entry{number: 1}))
	f.Add(appendEntry(appendEntry(nil, offerOfTest(3, "a")), offerOfTest(2, "b")))
	f.Add([]byte{4, 9, 77, 1, 2})
	f.Fuzz(func(t *testing.T, body []byte) {
		var book offerBook
		for len(body) > 0 {
			e, n, fault := parseEntry(body)
			if fault != FaultNone {
				return
			}
			if n > len(body) || n < 2 {
				t.Fatalf("%d of %d bytes", n, len(body))
			}
			if _, fault := book.apply(e, n); fault != FaultNone {
				return
			}
			if e.offer.Kind == KindMessage {
				if msgtype.CheckName(e.offer.Name) != nil || e.offer.MaxSize < 1 || e.offer.MaxSize > msgtype.MaxSize {
					t.Fatalf("%+v", e)
				}
				if _, _, ok := book.find(KindMessage, e.offer.Name); !ok {
					t.Fatalf("%+v is not in the book", e)
				}
			}
			body = body[n:]
		}
		sum := 0
		for _, e := range book.entries {
			sum += e.size
		}
		if sum != book.bytes || len(book.entries) > MaxOffers || !slices.IsSortedFunc(book.entries, func(a, b bookEntry) int { return int(a.number) - int(b.number) }) {
			t.Fatalf("%d entries, %d bytes, %d counted", len(book.entries), sum, book.bytes)
		}
	})
}

// FuzzStreamHeader reads the header of a stream from arbitrary bytes in arbitrary
// pieces.
func FuzzStreamHeader(f *testing.F) {
	f.Add([]byte{1, 0, 0}, 1)
	f.Add([]byte{0x80, 0x80, 1}, 2)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff}, 5)
	f.Add([]byte{0x80, 0}, 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		read := func(piece int) (int, []byte, error) {
			r := testReader(&fakeStream{data: data, piece: piece, end: io.EOF}, 1<<20, nil)
			n, err := r.number()
			return n, r.ahead, err
		}
		n, _, err := read(max(1, min(piece, 1<<20)))
		whole, ahead, wholeErr := read(1 << 20)
		if n != whole || faultOf(err) != faultOf(wholeErr) {
			t.Fatalf("in pieces %d, %v; whole %d, %v", n, err, whole, wholeErr)
		}
		if err == nil {
			head := binary.AppendUvarint(nil, uint64(whole))
			if !bytes.HasPrefix(data, head) || !bytes.HasPrefix(data[len(head):], ahead) {
				t.Fatalf("%x: number %d, %x follows", data, whole, ahead)
			}
		}
	})
}
