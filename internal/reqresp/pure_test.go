package reqresp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/setting"
)

func TestHeader(t *testing.T) {
	for _, h := range []header{
		{kind: kindOpen, call: 1, size: 3},
		{kind: kindData, end: true, call: 1 << 40, size: maxFrame},
		{kind: kindError, call: 0, size: 200},
		{kind: kindCancel, call: 127, size: 0},
		{kind: kindCredit, call: 128, size: 2},
	} {
		b := appendHeader(nil, h)
		for n := range b {
			if _, m, err := parseHeader(b[:n]); m != 0 || err != nil {
				t.Errorf("%+v, %d of %d bytes: %d, %v", h, n, len(b), m, err)
			}
		}
		if got, n, err := parseHeader(append(b, 0xff)); got != h || n != len(b) || err != nil {
			t.Errorf("%+v: %+v, %d, %v", h, got, n, err)
		}
	}
	for name, b := range map[string][]byte{
		"kind 0":              {0, 1, 0},
		"kind 6":              {6, 1, 0},
		"end of a cancel":     {flagEnd | byte(kindCancel), 1, 0},
		"call not shortest":   {byte(kindData), 0x81, 0x00, 0},
		"size not shortest":   {byte(kindData), 1, 0x81, 0x00},
		"too large":           {byte(kindData), 1, 0x81, 0x80, 0x04},
		"call above 64 bits":  append(append([]byte{byte(kindData)}, bytes.Repeat([]byte{0xff}, 10)...), 1, 0),
		"size that never end": append([]byte{byte(kindData), 1}, bytes.Repeat([]byte{0x80}, 14)...),
	} {
		if _, _, err := parseHeader(b); err != FaultFrame {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFrameReader(t *testing.T) {
	var b []byte
	b = append(appendHeader(b, header{kind: kindData, call: 5, size: 4}), 1, 2, 3, 4)
	b = appendHeader(b, header{kind: kindCancel, call: 6})
	big := bytes.Repeat([]byte{9}, maxFrame)
	b = append(appendHeader(b, header{kind: kindOpen, end: true, call: 7, size: len(big)}), big...)
	for name, src := range map[string]io.Reader{"whole": bytes.NewReader(b), "byte by byte": &dribble{b: b}} {
		r := newFrameReader(src)
		if h, err := r.next(); err != nil || h.call != 5 {
			t.Fatal(name, h, err)
		}
		two := make([]byte, 2)
		if err := r.read(two); err != nil || two[1] != 2 { // the rest is skipped
			t.Fatal(name, two, err)
		}
		if h, err := r.next(); err != nil || h.call != 6 {
			t.Fatal(name, h, err)
		}
		if _, err := r.uvarint(); err != FaultFrame {
			t.Error(name, "a number out of nothing:", err)
		}
		h, err := r.next()
		if err != nil || h.call != 7 || !h.end {
			t.Fatal(name, h, err)
		}
		got := make([]byte, len(big))
		if err := r.read(got); err != nil || !bytes.Equal(got, big) {
			t.Fatal(name, err)
		}
		if err := r.read(two); err != FaultFrame {
			t.Error(name, "read past the frame:", err)
		}
		if _, err := r.next(); err != io.EOF {
			t.Error(name, err)
		}
	}
	for n := range 8 {
		r := newFrameReader(bytes.NewReader(b[:n]))
		_, err := r.next()
		if err == nil {
			err = r.skip()
		}
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n == 0]; n < 7 && err != want {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// dribble gives one byte a read.
type dribble struct{ b []byte }

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.EOF
	}
	p[0], d.b = d.b[0], d.b[1:]
	return 1, nil
}

func TestHead(t *testing.T) {
	for _, number := range []uint32{1, 127, 128, 1<<31 - 1} {
		r := bufio.NewReader(bytes.NewReader(append(appendHead(nil, number), 1, 2)))
		got, err := readHead(r)
		if err != nil || got != number || r.Buffered() != 2 {
			t.Error(number, got, err, r.Buffered())
		}
	}
	for name, b := range map[string][]byte{
		"0": {0}, "above 31 bits": {0xff, 0xff, 0xff, 0xff, 0x0f}, "too long": {0x80, 0x80, 0x80, 0x80, 0x80, 1}, "not shortest": {0x81, 0},
	} {
		if _, err := readHead(bytes.NewReader(b)); err != FaultHead {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readHead(bytes.NewReader([]byte{0x80})); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

func TestTermsAndFailures(t *testing.T) {
	frame := func(b []byte) *frameReader {
		r := newFrameReader(bytes.NewReader(b))
		r.left = len(b)
		return r
	}
	for _, tc := range []struct {
		kind Kind
		in   terms
		want time.Duration
		bad  bool
	}{
		{Unary, terms{deadline: 1500 * time.Microsecond}, 2 * time.Millisecond, false},
		{Unary, terms{deadline: 48 * time.Hour}, 0, false},
		{Unary, terms{window: minWindow}, 0, true},
		{Stream, terms{window: minWindow}, 0, false},
		{Stream, terms{window: maxWindow}, 0, false},
		{Stream, terms{window: minWindow - 1}, 0, true},
		{Stream, terms{window: maxWindow + 1}, 0, true},
		{Stream, terms{}, 0, true},
		{Upload, terms{}, 0, false},
	} {
		got, err := readTerms(frame(appendTerms(nil, tc.in)), tc.kind)
		if (err == FaultFrame) != tc.bad || !tc.bad && got != (terms{tc.want, tc.in.window}) {
			t.Errorf("%s %+v: %+v, %v", tc.kind, tc.in, got, err)
		}
	}
	long := strings.Repeat("ä", 200)
	f, err := readFailure(frame(appendFailure(nil, failure{Busy, 90 * time.Minute, "a\nb" + long})))
	if err != nil || f.code != Busy || f.after != time.Hour || !strings.HasPrefix(f.text, "a?b") || len(f.text) > maxText {
		t.Errorf("%+v %v", f, err)
	}
	for name, b := range map[string][]byte{
		"no code": {0, 0}, "nothing": {}, "long text": append([]byte{1, 0}, bytes.Repeat([]byte{'a'}, maxText+1)...),
	} {
		if _, err := readFailure(frame(b)); err != FaultFrame {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Both sides of the flow control play a stream of messages against each other: what
// the receiver holds stays within a window and one message, and nothing ever
// stands still.
func TestCredit(t *testing.T) {
	for _, size := range []int{0, 1, 1000, minWindow, 300_000, 3 << 20} {
		for _, greedy := range []bool{true, false} { // the program takes at once, or only when nothing else moves
			t.Run(fmt.Sprint(size, greedy), func(t *testing.T) {
				const window, messages = 256 << 10, 200
				f, credit := newInflow(window), window
				type msg struct{ booked, bytes int }
				var queue []msg
				used, held, most := 0, 0, 0
				left, begins := size, true
				sent := 0
				for step := 0; used < messages; step++ {
					if step > 10_000_000 {
						t.Fatal("stands still")
					}
					moved := false
					if sent < messages {
						if n := fragment(left, credit, begins); n >= 0 {
							cost := n
							if begins {
								cost += messageCost
							}
							credit -= cost
							if !f.arrived(cost, len(queue) == 0) {
								t.Fatal("the sender had no credit")
							}
							held += cost
							left, begins, moved = left-n, false, true
							if left == 0 {
								queue = append(queue, msg{f.completed(), size})
								left, begins, sent = size, true, sent+1
							}
						}
					}
					credit += f.grant()
					most = max(most, held)
					if len(queue) > 0 && (greedy || !moved) {
						m := queue[0]
						queue = queue[1:]
						f.used(m.booked, len(queue) == 0)
						used++
						held -= m.bytes + messageCost
						credit += f.grant()
						moved = true
					}
					if !moved {
						t.Fatalf("nothing moves: %d sent, %d used, credit %d, %+v", sent, used, credit, f)
					}
				}
				if limit := window + size + 2*messageCost; most > limit {
					t.Errorf("%d bytes held, at most %d expected", most, limit)
				}
			})
		}
	}
	f := newInflow(minWindow)
	if f.arrived(minWindow+1, true) {
		t.Error("more than the window was taken")
	}
}

func TestAssembly(t *testing.T) {
	var a assembly
	a.begin(1 << 20)
	if dst, ok := a.grow(100); !ok || len(dst) != 100 || cap(a.buf) > firstPiece {
		t.Errorf("%d bytes allocated for 100 of 1 MiB", cap(a.buf))
	}
	for len(a.buf) < 1<<20 {
		n := min(maxFragment, 1<<20-len(a.buf))
		if _, ok := a.grow(n); !ok {
			t.Fatal("refused")
		}
		if cap(a.buf) > max(firstPiece, growth*(len(a.buf)-n)) {
			t.Fatalf("%d allocated when %d had come", cap(a.buf), len(a.buf)-n)
		}
	}
	if _, ok := a.grow(1); ok {
		t.Error("more than was announced")
	}
	if msg, ok := a.take(); !ok || len(msg) != 1<<20 || cap(msg) != 1<<20 || a.begun {
		t.Error("not the message")
	}
	a.begin(0)
	if msg, ok := a.take(); !ok || msg == nil || len(msg) != 0 {
		t.Error("an empty message is one")
	}
}

func TestAdmission(t *testing.T) {
	a := newAdmission(Spec{Concurrency: 3, PerPeer: 2, Queue: 4, PeerQueue: 3})
	names := map[*served]string{}
	enter := func(p, name string) decision {
		k := new(served)
		names[k] = name
		return a.enter(peer.ID(p), k)
	}
	expect := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	expect("A1", enter("A", "A1"), runs)
	expect("A2", enter("A", "A2"), runs)
	expect("A3 above the peer's share", enter("A", "A3"), waits)
	expect("A4", enter("A", "A4"), waits)
	expect("A5", enter("A", "A5"), waits)
	expect("A6 above the peer's queue", enter("A", "A6"), refused)
	expect("B1", enter("B", "B1"), runs)
	expect("B2", enter("B", "B2"), waits)
	expect("C1 above the queue", enter("C", "C1"), refused)
	expect("retry", a.retryAfter(), 10*time.Millisecond)
	// B's place goes to B: A has its share.
	expect("after B1", names[a.leave("B", 8*time.Second)], "B2")
	expect("retry", a.retryAfter() > time.Second, true)
	expect("after A1", names[a.leave("A", time.Second)], "A3")
	expect("B3", enter("B", "B3"), waits)
	// Peers take turns.
	expect("after A2", names[a.leave("A", 0)], "A4")
	expect("after A3", names[a.leave("A", 0)], "B3")
	expect("after B2", names[a.leave("B", 0)], "A5")
	for _, p := range []string{"A", "A", "B"} {
		expect("last", a.leave(peer.ID(p), 0) == nil, true)
	}
	if a.running != 0 || a.waiting != 0 || len(a.peers) != 0 || len(a.turns) != 0 {
		t.Errorf("left behind: %+v", a)
	}
	k := new(served)
	enter("A", "x")
	enter("A", "y")
	a.enter("A", k)
	expect("withdraw", a.withdraw("A", k), true)
	expect("withdraw again", a.withdraw("A", k), false)
	expect("nobody waits", a.leave("A", 0) == nil, true)
	a.leave("A", 0)
	if a.waiting != 0 || len(a.peers) != 0 || len(a.turns) != 0 {
		t.Errorf("left behind: %+v", a)
	}
}

func TestQuota(t *testing.T) {
	q := quota{maxCalls: 3, maxPeerCalls: 2, maxBytes: 100, maxPeerBytes: 60, peers: make(map[peer.ID]*booked)}
	for i, want := range []bool{true, true, false} {
		if got := q.enter("A"); got != want {
			t.Errorf("call %d of A: %v", i, got)
		}
	}
	if !q.fits("A", 60) || q.fits("A", 61) {
		t.Error("the room of a peer")
	}
	q.book("A", 60)
	if !q.enter("B") || q.fits("B", 41) || !q.fits("B", 40) {
		t.Error("the room of all")
	}
	if q.enter("C") {
		t.Error("above all calls")
	}
	q.leave("A", 60)
	if q.leave("A", 0); !q.enter("A") {
		t.Error("no room after calls have ended")
	}
	q.leave("A", 0)
	q.leave("B", 0)
	if len(q.peers) != 0 || q.calls != 0 || q.bytes != 0 {
		t.Errorf("left behind: %+v", q)
	}
}

func TestCallTable(t *testing.T) {
	var c callTable
	k := new(call)
	if n := c.add(k); n != 1 {
		t.Error("the first number is", n)
	}
	for _, tc := range []struct {
		n    uint64
		want callState
	}{{1, current}, {2, unsolicited}} {
		if _, is := c.get(tc.n); is != tc.want {
			t.Errorf("%d: %v", tc.n, is)
		}
	}
	c.remove(1)
	if _, is := c.get(1); is != former {
		t.Errorf("an answer that was on its way: %v", is)
	}
}

func TestP95(t *testing.T) {
	var l latencies
	for i := range latencyLeast {
		if l.p95() != 0 {
			t.Errorf("says something after %d answers", i)
		}
		l.add(time.Second)
	}
	for i := range 1000 {
		l.add(time.Duration(i%100+1) * time.Millisecond)
	}
	if d := l.p95(); d < 90*time.Millisecond || d > 99*time.Millisecond {
		t.Errorf("p95 of 1 to 100 ms is %s", d)
	}
}

func TestErrors(t *testing.T) {
	remote := &Error{Peer: "p", Method: "m", Code: NotFound}
	if !errors.Is(remote, NotFound) || errors.Is(remote, Busy) {
		t.Error("an error is its code")
	}
	for _, tc := range []struct {
		err  error
		code Code
		text string
	}{
		{NotFound, NotFound, ""},
		{fmt.Errorf("secret: %w", NotFound), NotFound, ""},
		{&Error{Code: 200, Text: "told"}, 200, "told"},
		{fmt.Errorf("secret: %w", &Error{Code: BadRequest, Text: "told"}), BadRequest, "told"},
		{errors.New("secret"), Internal, ""},
		{remote, NotFound, ""}, // the words of another peer stay here
		{io.EOF, Internal, ""},
	} {
		if code, _, text := refusal(tc.err); code != tc.code || text != tc.text {
			t.Errorf("%v travels as %v %q", tc.err, code, text)
		}
	}
}

func TestSpecValidate(t *testing.T) {
	bad := Spec{Name: "a/b", Kind: 9, MaxRequest: -1, MaxAnswer: 1<<31 - 1, Window: 1, Concurrency: -1, Deadline: -1, Rate: -1, Burst: -1}
	err := bad.Validate()
	for _, field := range []string{"name", "Kind", "MaxRequest", "MaxAnswer", "Window", "Concurrency", "Deadline", "Rate", "Burst"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
	if _, ok := errors.AsType[*setting.Error](err); !ok {
		t.Error("not a setting.Error")
	}
	if err := (Spec{Name: "a", Kind: Unary}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "Peers") {
		t.Error(err)
	}
}
