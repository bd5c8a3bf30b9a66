package peers

// sample is how many entries are looked at to find one to give up.
const sample = 16

// bounded is a map with a cap. When it is full, the least of a few random entries
// is given up: a flood of new entries costs a constant time each and cannot
// make the map grow.
type bounded[K comparable, V any] struct {
	m    map[K]V
	cap  int
	less func(a, b V) bool // a is worth less than b
}

func newBounded[K comparable, V any](cap int, less func(a, b V) bool) *bounded[K, V] {
	return &bounded[K, V]{m: make(map[K]V), cap: cap, less: less}
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	v, ok := b.m[k]
	return v, ok
}

func (b *bounded[K, V]) put(k K, v V) {
	if _, ok := b.m[k]; !ok && len(b.m) >= b.cap {
		b.evict()
	}
	b.m[k] = v
}

func (b *bounded[K, V]) delete(k K) { delete(b.m, k) }

func (b *bounded[K, V]) evict() {
	var victim K
	var worst V
	n := 0
	for k, v := range b.m { // Go's map order is random
		if n == 0 || b.less(v, worst) {
			victim, worst = k, v
		}
		if n++; n == sample {
			break
		}
	}
	delete(b.m, victim)
}

// sweep deletes what is over.
func (b *bounded[K, V]) sweep(over func(V) bool) {
	for k, v := range b.m {
		if over(v) {
			delete(b.m, k)
		}
	}
}
