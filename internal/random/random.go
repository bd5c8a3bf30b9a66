// Package random gives each part of a node a generator of its own: the runtime's,
// or one that follows from a seed, so that a test makes the same choices again.
// Nothing that has to be secret comes from here.
package random

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// Source makes generators. That of the zero Source is the runtime's.
type Source struct{ seed *uint64 }

// Seeded is a source whose generators follow from a number.
func Seeded(seed uint64) Source { return Source{&seed} }

// For is the generator of a part of a node; any number of goroutines may use it.
// With a seed, what it gives depends on that and the name alone, whatever other
// parts draw.
func (s Source) For(part string) *rand.Rand {
	if s.seed == nil {
		return rand.New(shared{})
	}
	key := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, *s.seed), part...))
	return rand.New(&locked{src: rand.NewChaCha8(key)})
}

// Or is r, and the runtime's generator where that is nil.
func Or(r *rand.Rand) *rand.Rand {
	if r == nil {
		return rand.New(shared{})
	}
	return r
}

// shared is the runtime's generator.
type shared struct{}

func (shared) Uint64() uint64 { return rand.Uint64() }

// locked is a generator for several goroutines. A rand.Rand has no other state.
type locked struct {
	mu  sync.Mutex // guards src
	src *rand.ChaCha8
}

func (l *locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}
