package session

import (
	"bytes"
	"testing"
)

// Small frames between large ones do not hold a large block each.
func TestQueueOfMixedFrames(t *testing.T) {
	var q queue
	small, large := make([]byte, 100), make([]byte, largeBody)
	for range 200 {
		m := testMessage(large)
		q.pushLarge(1, newLarge(m.head, m.body, false))
		m = testMessage(small)
		q.push(1, m.head, m.body, true)
	}
	booked, allocated := q.bytes, 0
	for {
		seg, ok := q.pop(1)
		if !ok {
			break
		}
		allocated += cap(seg.block.b)
		for _, b := range seg.chain {
			allocated += cap(b.b)
		}
		seg.release()
	}
	// A large frame of a quarter of a block holds a whole one.
	if most := booked * 9 / 2; allocated > most {
		t.Errorf("%d bytes are held for %d booked, want at most %d", allocated, booked, most)
	}
}

// Small frames behind each other share blocks, large ones from the second on.
func TestQueueOfSmallFrames(t *testing.T) {
	var q queue
	m := testMessage(make([]byte, 100))
	for range 2000 {
		q.push(1, m.head, m.body, false)
	}
	var caps []int
	for {
		seg, ok := q.pop(1)
		if !ok {
			break
		}
		caps = append(caps, cap(seg.block.b))
		seg.release()
	}
	if len(caps) < 3 || caps[0] != smallBlock || caps[1] != largeBlock || caps[2] != largeBlock {
		t.Errorf("blocks of %v bytes", caps)
	}
}

func testMessage(data []byte) message {
	return message{head: header{body: len(data), raw: len(data)}, body: data}
}

// What a stream has not begun to take goes back to the front, and comes out in
// its old order; what it has taken does not.
func TestQueueGivesBack(t *testing.T) {
	for taken := range 3*12 + 1 {
		var q queue
		for i := range 4 {
			q.push(1, header{body: 10, raw: 10}, bytes.Repeat([]byte{byte(i)}, 10), false)
			if i == 2 { // the fourth is in a segment of its own
				l := q.class(1)
				l.segs[len(l.segs)-1].closed = true
			}
		}
		seg, _ := q.pop(1)
		written := seg.keepRest(taken)
		if written != taken/12 {
			t.Errorf("%d bytes taken: %d written", taken, written)
		}
		begun := (taken + 11) / 12
		if seg.count != 3-begun {
			t.Errorf("%d bytes taken: %d left", taken, seg.count)
		}
		if seg.count > 0 {
			q.unpop(1, seg)
		}
		if q.count != 4-begun || q.bytes != 12*(4-begun) {
			t.Errorf("%d bytes taken: %d frames of %d bytes", taken, q.count, q.bytes)
		}
		var got []byte
		for {
			seg, ok := q.pop(1)
			if !ok {
				break
			}
			for b := seg.block.b; len(b) > 0; b = b[12:] {
				got = append(got, b[2])
			}
			seg.release()
		}
		if want := []byte{0, 1, 2, 3}[begun:]; !bytes.Equal(got, want) {
			t.Errorf("%d bytes taken: %v comes, want %v", taken, got, want)
		}
	}
}
