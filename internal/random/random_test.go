package random

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func draw(r *rand.Rand) (out []uint64) {
	for range 20 {
		out = append(out, r.Uint64())
	}
	return out
}

func TestSeeded(t *testing.T) {
	first := draw(Seeded(1).For("a"))
	other := Seeded(1)
	draw(other.For("b")) // does not move what follows
	if again := draw(other.For("a")); !slices.Equal(first, again) {
		t.Error("one seed and name, other numbers")
	}
	for what, r := range map[string]*rand.Rand{
		"seed": Seeded(2).For("a"), "name": Seeded(1).For("b"), "zero source": Source{}.For("a"), "nil": Or(nil),
	} {
		if slices.Equal(first, draw(r)) {
			t.Errorf("another %s, the same numbers", what)
		}
	}
	if slices.Equal(draw(Source{}.For("a")), draw(Source{}.For("a"))) {
		t.Error("numbers without a seed come again")
	}
	if r := Seeded(1).For("a"); Or(r) != r {
		t.Error("Or replaces a generator")
	}
}

func TestManyDraw(t *testing.T) {
	for _, s := range []Source{{}, Seeded(1)} {
		r := s.For("a")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { draw(r) })
		}
		wg.Wait()
	}
}
