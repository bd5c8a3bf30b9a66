package obs

import (
	"maps"
	"testing"
)

func TestInCallback(t *testing.T) {
	mine, other := Discard(), Discard()
	type answer struct {
		labels map[string]string
		ok     bool
	}
	for name, tc := range map[string]struct {
		run func(ask func())
		ok  bool
	}{
		"callback":             {func(ask func()) { mine.Labels("e", "type", "a\"b\x01, ").Apply(); Callback(ask) }, true},
		"deep":                 {func(ask func()) { mine.Labels("e", "type", "a\"b\x01, ").Apply(); Callback(func() { deep(200, ask) }) }, true},
		"not in one":           {func(ask func()) { mine.Labels("e").Apply(); ask() }, false},
		"of another service":   {func(ask func()) { other.Labels("e").Apply(); Callback(ask) }, false},
		"without labels":       {func(ask func()) { Callback(ask) }, false},
		"goroutine of the one": {func(ask func()) { mine.Labels("e").Apply(); Callback(func() { go ask() }) }, false},
		"after it":             {func(ask func()) { mine.Labels("e").Apply(); Callback(func() {}); ask() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan answer, 1)
			go tc.run(func() {
				labels, ok := mine.InCallback()
				got <- answer{labels, ok}
			})
			a := <-got
			if a.ok != tc.ok {
				t.Errorf("it is %v, labels %v", a.ok, a.labels)
			}
			want := map[string]string{"engine": "e", "type": "a\"b\x01, ", ownerLabel: mine.owner()}
			if tc.ok && !maps.Equal(a.labels, want) {
				t.Errorf("labels %q, want %q", a.labels, want)
			}
		})
	}
}

func deep(n int, f func()) {
	if n > 0 {
		deep(n-1, f)
		return
	}
	f()
}
