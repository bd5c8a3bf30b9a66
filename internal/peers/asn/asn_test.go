package asn

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t testing.TB, text string) *Table {
	t.Helper()
	table, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestOf(t *testing.T) {
	const text = `; as of a day
10.0.0.0/8 AS1	# a provider
10.1.0.0/16 2
10.1.2.0/24 as3

10.2.0.0/16 0
203.0.113.0/24 5
203.0.113.0/24 6
255.0.0.0/8 7
2001:4860::/32 8
2001:db8::/32 0
2a03:2880:f003::/48 9
2a03:2880:f003:c07::/64 10
2a03:2880:f003:c08::1/128 11
`
	table := read(t, text)
	for ip, want := range map[string]uint32{
		"9.255.255.255": 0, "10.0.0.0": 1, "10.0.255.255": 1, "10.1.0.0": 2, "10.1.1.255": 2,
		"10.1.2.0": 3, "10.1.2.255": 3, "10.1.3.0": 2, "10.1.255.255": 2, "10.2.0.1": 0, "10.3.0.0": 1,
		"10.255.255.255": 1, "11.0.0.0": 0, "203.0.113.9": 6, "255.255.255.255": 7, "254.255.255.255": 0,
		"::ffff:10.1.2.3":            3, // IPv4 in disguise
		"2001:4860:4860::8888":       8, // the library says 15169
		"2001:db8::1":                0,
		"2a03:2880:f003:c07:face::2": 10,
		"2a03:2880:f003:c06:face::2": 9,
		"2a03:2880:f004::1":          32934, // of the library
		"2601::":                     7922,
		"::":                         0,
		"ffff:ffff:ffff:ffff::":      0,
		"0:0:0:ffff::":               0,
		"2a03:2880:f003:c08::2":      11, // no /64 is parted
		"fe80::1%eth0":               0,
	} {
		if got := table.Of(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is in %d, want %d", ip, got, want)
		}
	}
	if got := table.Of(netip.Addr{}); got != 0 {
		t.Errorf("no address is in %d", got)
	}
	var none *Table
	if a, b := none.Of(netip.MustParseAddr("10.0.0.1")), none.Of(netip.MustParseAddr("2001:4860:4860::8888")); a != 0 || b != 15169 {
		t.Errorf("without a file: %d and %d, want 0 and 15169", a, b)
	}
	for _, tc := range []struct {
		text, ip string
		want     uint32
	}{
		{"0.0.0.0/0 1", "255.1.1.1", 1}, {"0.0.0.0/0 1", "2001:4860::1", 15169}, {"::/0 0", "2001:4860::1", 0},
		{"::/0 0", "255.1.1.1", 0}, {"", "2001:4860::1", 15169},
	} {
		if got := read(t, tc.text).Of(netip.MustParseAddr(tc.ip)); got != tc.want {
			t.Errorf("%q: %s is in %d, want %d", tc.text, tc.ip, got, tc.want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, text := range []string{
		"10.0.0.0/8", "10.0.0.0 1", "10.0.0.0/8 1 2", "10.0.0.0/33 1", "10.0.0.0/8 -1", "10.0.0.0/8 4294967295",
		"10.0.0.0/8 4294967296", "10.0.0.0/8 ASX", "10.0.0.0/8 AS", "::ffff:10.0.0.0/104 1", "fe80::%1/64 1",
	} {
		if _, err := Read(strings.NewReader("1.0.0.0/8 1\n" + text)); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Read(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("a line of a MiB was read")
	}
}

// What a table answers is what the smallest network says that an address is in.
func TestLongestPrefix(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var all []netip.Prefix
		var text strings.Builder
		for i := range 200 {
			var raw [4]byte
			binary.BigEndian.PutUint32(raw[:], rng.Uint32()&0x0f0f0f0f) // near each other
			p := netip.PrefixFrom(netip.AddrFrom4(raw), 4+rng.IntN(29)).Masked()
			all = append(all, p)
			fmt.Fprintf(&text, "%s %d\n", p, i+1)
		}
		table := read(t, text.String())
		order := make([]int, len(all))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(all[b].Bits(), all[a].Bits()), cmp.Compare(b, a))
		})
		for range 500 {
			var raw [4]byte
			binary.BigEndian.PutUint32(raw[:], rng.Uint32()&0x0f0f0f0f)
			ip := netip.AddrFrom4(raw)
			want := uint32(0)
			for _, i := range order {
				if all[i].Contains(ip) {
					want = uint32(i + 1)
					break
				}
			}
			if got := table.Of(ip); got != want {
				t.Fatalf("seed %d: %s is in %d, want %d", seed, ip, got, want)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8 1\n10.1.0.0/16 AS2 ; x\n", "::/0 0\n2001:db8::/32 7", "0.0.0.0/0 1\n255.255.255.255/32 2", "#\n;\n\n", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range []steps{table.v4, table.v6} {
			if !slices.IsSorted(s.from) || len(slices.Compact(slices.Clone(s.from))) != len(s.from) || len(s.from) != len(s.num) {
				t.Fatalf("steps out of order: %v", s)
			}
		}
		for _, ip := range []string{"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "2001:db8::1"} {
			table.Of(netip.MustParseAddr(ip))
		}
	})
}

func BenchmarkOf(b *testing.B) {
	var text strings.Builder
	for i := range 1 << 17 {
		fmt.Fprintf(&text, "%d.%d.%d.0/24 %d\n", i>>16&255, i>>8&255, i&255, i%70000)
	}
	table := read(b, text.String())
	for name, ip := range map[string]string{"IPv4, of a file": "1.77.3.1", "IPv6, of the library": "2a03:2880:f003:c07:face:b00c::2"} {
		b.Run(name, func(b *testing.B) {
			at := netip.MustParseAddr(ip)
			for b.Loop() {
				table.Of(at)
			}
		})
	}
}
