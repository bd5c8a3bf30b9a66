package session

import "testing"

// Small frames between large ones do not hold a large block each.
func TestQueueOfMixedFrames(t *testing.T) {
	var q queue
	small, large := make([]byte, 100), make([]byte, largeBody)
	for range 200 {
		m := newMessage(nil, large, false)
		q.pushLarge(1, newLarge(m.head, m.body, false))
		m = newMessage(nil, small, false)
		q.push(1, m.head, m.body, true)
	}
	booked, held := q.bytes, 0
	for {
		seg, ok := q.pop(1)
		if !ok {
			break
		}
		held += cap(seg.block.b)
		for _, b := range seg.chain {
			held += cap(b.b)
		}
		seg.release()
	}
	// A large frame of a quarter of a block holds a whole one.
	if most := booked * 9 / 2; held > most {
		t.Errorf("%d bytes are held for %d booked, want at most %d", held, booked, most)
	}
}

// Small frames behind each other share blocks, large ones from the second on.
func TestQueueOfSmallFrames(t *testing.T) {
	var q queue
	m := newMessage(nil, make([]byte, 100), false)
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
