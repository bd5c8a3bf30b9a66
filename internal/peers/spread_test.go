package peers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/internal/peers/asn"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

func systems(t testing.TB, text string) *asn.Table {
	t.Helper()
	table, err := asn.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A neighbourhood has two places in twelve, and the autonomous system that it is in
// four, where that is known. Around those that are not, nothing is bounded.
func TestSpread(t *testing.T) {
	table := systems(t, "66.0.0.0/8 666\n66.7.0.0/16 0\n2a00::/16 666")
	for name, tc := range map[string]struct {
		have string // the last octets of neighbourhoods that there are
		next string
		full bool
	}{
		"empty":                           {"", "66.6.1.0", false},
		"one of a neighbourhood":          {"66.6.1.1", "66.6.1.0", false},
		"two of a neighbourhood":          {"66.6.1.1 66.6.1.2", "66.6.1.0", true},
		"another one":                     {"66.6.1.1 66.6.1.2", "66.6.2.0", false},
		"three of a system":               {"66.6.1.1 66.6.1.2 66.1.1.1", "66.6.2.0", false},
		"four of a system":                {"66.6.1.1 66.6.1.2 66.1.1.1 66.2.2.2", "66.6.2.0", true},
		"of IPv6, too":                    {"66.6.1.1 66.6.1.2 66.1.1.1 66.2.2.2", "2a00:1:2::", true},
		"another system":                  {"66.6.1.1 66.6.1.2 66.1.1.1 66.2.2.2", "2001:4860:4860::", false},
		"a system that the library knows": {"2001:4860:1:: 2001:4860:2:: 2001:4860:3:: 2001:4860:4::", "2001:4860:5::", true},
		"exempt by the file":              {"66.7.1.1 66.7.2.1 66.7.3.1 66.7.4.1 66.7.5.1", "66.7.6.1", false},
		"not known":                       {"8.6.1.1 8.6.2.1 8.6.3.1 8.6.4.1 8.6.5.1", "8.6.6.1", false},
		"exempt":                          {"66.6.1.1 66.6.1.2", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpread(shares{2, 4}, table)
			for ip := range strings.FieldsSeq(tc.have) {
				s.add(book.GroupOf(netip.MustParseAddr(ip)))
			}
			var g netip.Prefix
			if tc.next != "" {
				g = book.GroupOf(netip.MustParseAddr(tc.next))
			}
			if got := s.full(g); got != tc.full {
				t.Errorf("full: %v, want %v", got, tc.full)
			}
		})
	}
}

// An attacker with as many neighbourhoods of one provider as it likes gets a third of
// the places where the provider is known.
func TestChooseBoundsSystems(t *testing.T) {
	table := systems(t, "66.0.0.0/8 666")
	most, without := 0, 0
	for seed := range uint64(50) {
		b, c := library(20, 0, seed)
		for i := range 400 {
			b.Add(c.now, book.Told{Peer: info(peerID("evil", i), fmt.Sprintf("/ip4/66.%d.%d.1/tcp/1", i/200, i%200)), Source: book.FromExchange, Teller: peerN(i / 50)})
		}
		c.spread = newSpread(shares{2, 4}, nil)
		chosen, _ := choose(b.All(), c)
		without = max(without, evil(chosen))
		c.spread = newSpread(shares{2, 4}, table)
		if chosen, _ = choose(b.All(), c); len(chosen) != 12 {
			t.Fatalf("%d chosen", len(chosen))
		}
		most = max(most, evil(chosen))
	}
	if most > 4 || without <= 4 {
		t.Errorf("%d of 12 are of one system, %d where it is not known", most, without)
	}
}
