package dispatcher

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// model is the filter as a plain map, with the same generations.
type model struct {
	limit    int
	cur, old map[key]uint64
}

func (m *model) add(k key, bits uint64) uint64 {
	if was, ok := m.cur[k]; ok {
		m.cur[k] = was | bits
		return bits &^ was
	}
	was := m.old[k]
	delete(m.old, k)
	if len(m.cur) >= m.limit {
		m.cur, m.old = map[key]uint64{}, m.cur
	}
	m.cur[k] = was | bits
	return bits &^ was
}

func (m *model) each(f func(g map[key]uint64)) { f(m.cur); f(m.old) }

func (m *model) remove(k key, bits uint64) {
	m.each(func(g map[key]uint64) {
		if was, ok := g[k]; ok {
			if g[k] = was &^ bits; g[k] == 0 {
				delete(g, k)
			}
		}
	})
}

func (m *model) forget(bits uint64) {
	m.each(func(g map[key]uint64) {
		for k := range g {
			if g[k] &^= bits; g[k] == 0 {
				delete(g, k)
			}
		}
	})
}

func (m *model) check(t *testing.T, f *table) {
	t.Helper()
	for i, g := range []*generation{&f.cur, &f.old} {
		want := []map[key]uint64{m.cur, m.old}[i]
		if g.used != len(want) || g.used > f.limit {
			t.Fatalf("generation %d holds %d, want %d, at most %d", i, g.used, len(want), f.limit)
		}
		for k, bits := range want {
			if s := g.find(k); s == nil || s.bits != bits {
				t.Fatalf("generation %d: key %v: %v, want bits %b", i, k, s, bits)
			}
		}
	}
}

// play runs operations of four bytes each against filter and model. Few places
// and few keys make for long probes.
func play(t *testing.T, limit int, ops []byte) {
	f := newTable(limit)
	m := &model{limit: limit, cur: map[key]uint64{}, old: map[key]uint64{}}
	for ; len(ops) >= 4; ops = ops[4:] {
		n := uint64(binary.LittleEndian.Uint16(ops[1:]))
		k := key{a: n | 1, b: n % 61 << 3}
		bits := uint64(1) << (ops[3] % 4)
		if ops[3]&128 != 0 {
			bits |= 2
		}
		switch ops[0] % 8 {
		default:
			if got, want := f.add(k, bits), m.add(k, bits); got != want {
				t.Fatalf("add %v %b: fresh %b, want %b", k, bits, got, want)
			}
		case 5, 6:
			f.remove(k, bits)
			m.remove(k, bits)
		case 7:
			if ops[1] == 7 {
				f.forget(bits)
				m.forget(bits)
			}
		}
		m.check(t, f)
	}
}

func TestFilterModel(t *testing.T) {
	for _, limit := range []int{1, 2, 50, 300} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(limit)))
			ops := make([]byte, 8000)
			for i := range ops {
				ops[i] = byte(rnd.Uint32())
				if i%4 == 2 {
					ops[i] &= 3 // some 1,000 keys
				}
			}
			play(t, limit, ops)
		})
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(3, []byte("\x00\x01\x00\x00\x00\x02\x00\x01\x05\x01\x00\x00\x07\x07\x00\x00"))
	f.Add(1, []byte("\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, limit int, ops []byte) {
		if limit < 1 || limit > 1000 || len(ops) > 4000 {
			t.Skip()
		}
		play(t, limit, ops)
	})
}

// The last limit messages are remembered, however many come.
func TestFilterRemembers(t *testing.T) {
	const limit = 1000
	f := newTable(limit)
	seeds := newSeeds()
	keyAt := func(i int) key { return seeds.of(NewMessage("tx", "", fmt.Appendf(nil, "%d", i))) }
	for i := range 10 * limit {
		if f.add(keyAt(i), 1) != 1 {
			t.Fatalf("message %d is taken for another", i)
		}
		if back := i - limit + 1; back >= 0 && back%97 == 0 && f.add(keyAt(back), 1) != 0 {
			t.Fatalf("message %d is forgotten after %d others", back, limit-1)
		}
	}
	if n := len(f.cur.entries) + len(f.old.entries); n > 8*limit {
		t.Errorf("%d entries for %d messages", n, limit)
	}
}

func BenchmarkFilterAdd(b *testing.B) {
	f := newTable(defaultFilterSize)
	rnd := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		f.add(key{rnd.Uint64() | 1, rnd.Uint64()}, 1)
	}
}

func BenchmarkKey(b *testing.B) {
	for _, size := range []int{32, 256, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m := NewMessage("tx", "", make([]byte, size))
			seeds := newSeeds()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				seeds.of(m)
			}
		})
	}
}

// carried is a message of another package that is a BasicMessage inside.
type carried struct{ *BasicMessage }

func (c carried) Basic() *BasicMessage { return c.BasicMessage }

func TestCarrierIsTheSameMessage(t *testing.T) {
	s := newSeeds()
	m := NewMessage("tx", "a", []byte("payload"))
	if s.of(m) != s.of(carried{NewMessage("tx", "b", []byte("payload"))}) {
		t.Error("two copies have two keys")
	}
	if s.of(m) == s.of(carried{NewMessage("tx", "a", []byte("other"))}) {
		t.Error("two messages have one key")
	}
	if s.of(emptyCarrier{NewMessage("tx", "", nil)}) == s.of(m) {
		t.Error("a carrier without a message is not asked for its hash")
	}
}

// What a carrier has inside may have been made by no constructor.
func TestCarrierOfAZeroMessage(t *testing.T) {
	var it item
	if err := it.of(carried{new(BasicMessage)}); err != nil || it.head == nil || *it.head != (head{}) {
		t.Errorf("%+v, %v", it.head, err)
	}
}

type emptyCarrier struct{ Message }

func (emptyCarrier) Basic() *BasicMessage { return nil }
