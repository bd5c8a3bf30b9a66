package discovery

import (
	"strconv"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/random"
)

func TestSample(t *testing.T) {
	ids := func(n int) []peer.ID {
		out := make([]peer.ID, n)
		for i := range out {
			out[i] = peer.ID(strconv.Itoa(i))
		}
		return out
	}
	itself := func(p peer.ID) []byte { return []byte(p) }
	for _, c := range []struct {
		name   string
		ids    []peer.ID
		n      int
		record func(peer.ID) []byte
		want   int
	}{
		{"nobody", nil, 5, itself, 0},
		{"the asker alone", ids(1), 5, itself, 0},
		{"fewer than wanted", ids(4), 16, itself, 3},
		{"as wanted", ids(100), 16, itself, 16},
		{"none", ids(4), 0, itself, 0},
		{"listed twice", append(ids(3), ids(3)...), 16, itself, 2},
		{"without records", ids(5), 16, func(peer.ID) []byte { return nil }, 0},
		{"one with a record", ids(50), 16, func(p peer.ID) []byte {
			if p == "7" {
				return []byte(p)
			}
			return nil
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sample(random.Or(nil), c.ids, "0", c.n, c.record)
			if len(got) != c.want {
				t.Fatalf("%d records, want %d", len(got), c.want)
			}
			seen := map[string]bool{}
			for _, r := range got {
				if string(r) == "0" || seen[string(r)] {
					t.Errorf("%q is the asker or there twice", r)
				}
				seen[string(r)] = true
			}
		})
	}
}

// Everybody has a share: no peer of 40 is always left out.
func TestSampleIsRandom(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		ids := make([]peer.ID, 40)
		for i := range ids {
			ids[i] = peer.ID(strconv.Itoa(i))
		}
		for _, r := range sample(random.Or(nil), ids, "", 16, func(p peer.ID) []byte { return []byte(p) }) {
			seen[string(r)] = true
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 peers were ever told of", len(seen))
	}
}

func TestAsking(t *testing.T) {
	for _, c := range []struct{ want, known, ask int }{
		{-1, 5, 0}, {0, 5, 0}, {1, 0, 1}, {1, 3, 4}, {3, 100, 16}, {100, 0, 16}, {100, 100, 16},
	} {
		if got := asking(c.want, c.known); got != c.ask {
			t.Errorf("wanting %d, knowing %d: asked for %d, want %d", c.want, c.known, got, c.ask)
		}
	}
}
