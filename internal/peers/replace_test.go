package peers

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestValue(t *testing.T) {
	worth := func(r record) float64 { return r.value().Total() }
	for _, tt := range []struct {
		name          string
		worse, better record
	}{
		{"useful messages", record{useful: 1}, record{useful: 10}},
		{"nearer", record{rtt: 300 * time.Millisecond}, record{rtt: 20 * time.Millisecond}},
		{"longer here", record{age: time.Minute}, record{age: time.Hour}},
		{"scored in broadcasting", record{gossip: -5}, record{}},
		{"answers", record{failed: 20}, record{answered: 20}},
		{"without faults", record{penalty: 30}, record{}},
		{"useful beats near and old", record{age: 1000 * time.Hour, rtt: time.Microsecond}, record{useful: 7}},
		{"graylisted beats useful", record{useful: 20, gossip: -1000}, record{}},
		{"a few failures say little", record{failed: 20}, record{failed: 1}},
	} {
		if a, b := worth(tt.worse), worth(tt.better); a >= b {
			t.Errorf("%s: %.2f against %.2f", tt.name, a, b)
		}
	}
	// Of what a peer controls alone, nothing counts without bound: a million
	// useful messages are worth 20 times as much as one.
	if a, b := worth(record{useful: 1}), worth(record{useful: 1e6}); b > 20*a {
		t.Errorf("%.1f and %.1f", a, b)
	}
	if f := fade(8, usefulHalfLife*3); math.Abs(f-1) > 1e-9 || fade(8, -time.Hour) != 8 {
		t.Errorf("%v", f)
	}
}

// place4 places a peer: number, third byte of its address, minutes here, use.
func place4(n, net int, minutes int, useful float64) incumbent {
	r := record{useful: useful, age: time.Duration(minutes) * time.Minute}
	return incumbent{
		id: peer.ID(fmt.Sprintf("p%02d", n)), group: netip.MustParsePrefix(fmt.Sprintf("7.7.%d.0/24", net)),
		age: r.age, value: r.value(),
	}
}

func TestVictim(t *testing.T) {
	incumbents := func(change func(i int, s *incumbent)) []incumbent {
		var all []incumbent
		for i := range 16 {
			s := place4(i, 1, i+1, 0) // all of one network
			change(i, &s)
			all = append(all, s)
		}
		return all
	}
	other := newcomer{group: netip.MustParsePrefix("9.9.9.0/24")}
	same := newcomer{group: netip.MustParsePrefix("7.7.1.0/24")}
	diverse := incumbents(func(i int, s *incumbent) { *s = place4(i, i, i+1, float64(i)) })
	for _, tt := range []struct {
		name string
		all  []incumbent
		n    newcomer
		want peer.ID // empty for nobody
	}{
		{"nobody there", nil, other, ""},
		{"one network holds all", incumbents(func(int, *incumbent) {}), other, "p00"}, // the youngest
		{"a newcomer of the same network", incumbents(func(int, *incumbent) {}), same, ""},
		{"all are reserved", incumbents(func(_ int, s *incumbent) { s.safe = true }), other, ""},
		{"all have just come", incumbents(func(_ int, s *incumbent) { s.age = time.Second }), other, ""},
		{"all are of different networks", diverse, other, ""},
		{"and the newcomer was more useful once", diverse, newcomer{group: other.group, useful: 100}, "p00"},
		{"and it was useful, but less", diverse, newcomer{group: other.group, useful: 0.01}, ""},
		{"a newcomer of no network", incumbents(func(int, *incumbent) {}), newcomer{}, ""},
		{"of the largest group the one worth least", incumbents(func(i int, s *incumbent) {
			*s = place4(i, i/6, i+1, float64(20-i))
		}), other, "p11"},
	} {
		got, ok := victim(tt.all, tt.n)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q", tt.name, string(got))
		}
	}
}

// The oldest, the most useful and the nearest stay, whatever comes.
func TestTheBestStay(t *testing.T) {
	var all []incumbent
	for i := range 24 {
		all = append(all, place4(i, 1, 1, 0))
	}
	all[3].age = time.Hour
	all[5].value = record{useful: 50}.value()
	all[7].rtt = time.Millisecond
	for round := range 12 {
		id, ok := victim(all, newcomer{group: netip.MustParsePrefix("9.9.9.0/24")})
		if !ok {
			t.Fatalf("round %d: nobody gives way", round)
		}
		for i := range all {
			if all[i].id == id {
				if id == "p03" || id == "p05" || id == "p07" {
					t.Fatalf("%s had to go", id)
				}
				all = append(all[:i], all[i+1:]...)
				break
			}
		}
	}
}

// Rows 18 and 55: a few networks that hold all inbound places lose them to peers of
// other networks, and the other way round nobody is pushed out.
func TestLargestGroupGivesWay(t *testing.T) {
	from := func(i int) peer.AddrInfo { return info("", fmt.Sprintf("/ip4/30.%d.1.1/tcp/1", i)) }
	play(t, Config{MaxPeers: 20, InboundShare: 0.5}, nil, func(t *testing.T, fx *fixture) {
		enter := func(p peer.ID, from peer.AddrInfo) bool {
			tk, r := fx.Admit(p, dirIn, 1, from.Addrs[0])
			if r == none {
				fx.commit(tk)
			}
			time.Sleep(20 * time.Second)
			return r == none
		}
		ofOneNetwork := func(i int) peer.AddrInfo { return info("", fmt.Sprintf("/ip4/66.6.%d.%d/tcp/1", i/4%3, i%250)) }
		for i := range 10 {
			if !enter(peerN(i), ofOneNetwork(i)) {
				t.Fatal("not full yet")
			}
		}
		honest := 0
		for i := range 40 {
			if enter(peerN(100+i), from(i)) {
				honest++
			}
		}
		if honest < 5 || honest > 9 {
			t.Errorf("%d honest nodes got in", honest)
		}
		for i := range 100 {
			if enter(peerN(200+i), ofOneNetwork(i)) {
				t.Fatal("the newcomers of one network push others out")
			}
		}
		if fx.live() != 10 {
			t.Errorf("%d sessions", fx.live())
		}
	})
}

// Fewer peers are allowed: those worth least go, those of the operator stay.
func TestLimitsAreLowered(t *testing.T) {
	play(t, Config{MaxPeers: 20, InboundShare: 1}, nil, func(t *testing.T, fx *fixture) {
		for i := range 20 {
			fx.accept(peerN(i), 1).Useful(uint64(i), 1)
		}
		fx.name(info(peerN(0)), RoleReserved)
		fx.SetLimits(Limits{MaxPeers: 5, InboundShare: 1})
		if fx.live() != 5 || fx.closedFor(peerN(0)) != none || fx.closedFor(peerN(19)) != none || fx.closedFor(peerN(1)) == none {
			t.Errorf("%d are left", fx.live())
		}
		if l := fx.Limits(); l.MaxPeers != 5 {
			t.Errorf("%+v", l)
		}
	})
}

// With one place for each neighbourhood a peer is not in its own way.
func TestOneOfEachNeighbourhood(t *testing.T) {
	from := func(p peer.ID, addr string) peer.AddrInfo { return info(p, addr) }
	connect := func(fx *fixture, _ context.Context, ai peer.AddrInfo) error {
		tk, r := fx.Admit(ai.ID, dirOut, 0, ai.Addrs[0])
		if r != none {
			return r
		}
		return fx.commit(tk).Err()
	}
	play(t, Config{MaxPeers: 6, InboundShare: -1}, connect, func(t *testing.T, fx *fixture) {
		for i := range 4 {
			fx.learn(from(peerN(i), fmt.Sprintf("/ip4/30.1.1.%d/tcp/1", i)), from(peerN(10+i), fmt.Sprintf("/ip4/30.%d.1.1/tcp/1", 2+i)))
		}
		time.Sleep(10 * time.Minute)
		if n := fx.live(); n != 5 {
			t.Errorf("%d peers of 5 neighbourhoods", n)
		}
		if st := fx.Why(peerN(3)); st.Connected && st.Reason != "" || !st.Connected && st.Reason == "" {
			t.Errorf("%+v", st)
		}
	})
}
