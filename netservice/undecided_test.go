package netservice

import (
	"net/netip"
	"testing"
	"time"
)

// Who makes room in the pool of undecided connections: never a peer to keep before
// another, the neighbourhood with the most first, in it the oldest.
func TestEvict(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	a, b := netip.MustParsePrefix("20.0.1.0/24"), netip.MustParsePrefix("20.0.2.0/24")
	for _, tc := range []struct {
		name string
		pool map[string]*undecided
		want string
	}{
		{"nobody", nil, ""},
		{"the oldest", map[string]*undecided{"x": {since: at(1), group: a}, "y": {since: at(2), group: b}}, "x"},
		{"the oldest of the crowd", map[string]*undecided{
			"old": {since: at(1), group: a}, "x": {since: at(2), group: b}, "y": {since: at(3), group: b},
		}, "x"},
		{"a peer to keep last", map[string]*undecided{
			"x": {since: at(1), group: b, kept: true}, "y": {since: at(2), group: b, kept: true}, "z": {since: at(3), group: a},
		}, "z"},
		{"when there are no others", map[string]*undecided{"x": {since: at(1), kept: true}, "y": {since: at(2), kept: true}}, "x"},
		{"no address", map[string]*undecided{"x": {since: at(1), group: a}, "y": {since: at(2)}, "z": {since: at(3)}}, "y"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := evict(tc.pool); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
