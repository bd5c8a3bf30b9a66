package wire

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

// Set is a set of chunks, by their numbers.
type Set []uint64

// NewSet makes an empty set for n chunks.
func NewSet(n int) Set { return make(Set, (n+63)/64) }

// SetOf makes a set.
func SetOf(chunks ...int) (s Set) {
	for _, c := range chunks {
		s.Add(c)
	}
	return s
}

// Full is the set of all n chunks.
func Full(n int) Set {
	s := NewSet(n)
	for c := range n {
		s.Add(c)
	}
	return s
}

// Has reports whether a chunk is in the set.
func (s Set) Has(c int) bool { return c/64 < len(s) && s[c/64]&(1<<(c%64)) != 0 }

// Add puts a chunk in.
func (s *Set) Add(c int) {
	for c/64 >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[c/64] |= 1 << (c % 64)
}

// Remove takes a chunk out.
func (s Set) Remove(c int) {
	if c/64 < len(s) {
		s[c/64] &^= 1 << (c % 64)
	}
}

// Len is how many chunks are in the set.
func (s Set) Len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether there is none.
func (s Set) Empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// Max is the highest chunk, -1 if there is none.
func (s Set) Max() int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] != 0 {
			return i*64 + 63 - bits.LeadingZeros64(s[i])
		}
	}
	return -1
}

// All yields the chunks, the lowest first.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// appendSet encodes a set: as differences of the chunks, or as a bitmap where that
// is shorter.
func appendSet(b []byte, s Set) []byte {
	list := make([]byte, 0, 64)
	last := -1
	for c := range s.All() {
		list = binary.AppendUvarint(list, uint64(c-last-1))
		last = c
	}
	n := last/8 + 1
	if last < 0 {
		n = 0
	}
	if len(list) <= n {
		b = binary.AppendUvarint(b, uint64(len(list))<<1)
		return append(b, list...)
	}
	b = binary.AppendUvarint(b, uint64(n)<<1|1)
	for i := range n {
		b = append(b, byte(s[i/8]>>(8*(i%8))))
	}
	return b
}

// decodeSet takes a set off the front of b.
func decodeSet(b []byte) (s Set, rest []byte, ok bool) {
	head, b, ok := uvarint(b, uint64(MaxFrame)<<1)
	n := int(head >> 1)
	if !ok || n > len(b) {
		return nil, nil, false
	}
	body, rest := b[:n], b[n:]
	if head&1 == 1 {
		if n > MaxChunks/8 || n > 0 && body[n-1] == 0 {
			return nil, nil, false
		}
		for i, w := range body {
			for ; w != 0; w &= w - 1 {
				s.Add(i*8 + bits.TrailingZeros8(w))
			}
		}
		return s, rest, true
	}
	next := 0
	for len(body) > 0 {
		var d uint64
		if d, body, ok = uvarint(body, MaxChunks); !ok || next+int(d) >= MaxChunks {
			return nil, nil, false
		}
		s.Add(next + int(d))
		next += int(d) + 1
	}
	return s, rest, true
}

// uvarint takes a number of at most limit off the front of b, in its shortest form.
func uvarint(b []byte, limit uint64) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > limit || n > 1 && b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
