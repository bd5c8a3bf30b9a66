package book

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Unix(1_700_000_000, 0)

func id(n int) peer.ID { return peer.ID(fmt.Sprintf("P-%05d", n)) }

func said(p peer.ID, by peer.ID, addrs ...string) Told {
	t := Told{Peer: peer.AddrInfo{ID: p}, Source: FromExchange, Teller: by}
	for _, a := range addrs {
		t.Peer.Addrs = append(t.Peer.Addrs, ma.StringCast(a))
	}
	return t
}

// own is an address in a /24 of its own.
func own(n int) string { return fmt.Sprintf("/ip4/%d.%d.%d.1/tcp/1", 11+n>>16, n>>8&255, n&255) }

func TestAdd(t *testing.T) {
	b := New()
	for _, step := range []struct {
		name string
		told Told
		want Outcome
	}{
		{"new", said("A", "T", "/ip4/1.2.3.4/tcp/1"), Added},
		{"again", said("A", "T", "/ip4/1.2.3.4/tcp/1"), Known},
		{"another address", said("A", "U", "/ip4/1.2.3.5/tcp/1"), Updated},
		{"without an address", said("B", "T"), Useless},
		{"without an ID", said("", "T", "/ip4/1.2.3.4/tcp/1"), Useless},
		{"an endless ID", said(peer.ID(strings.Repeat("x", 65)), "T", "/ip4/1.2.3.4/tcp/1"), Useless},
		{"an endless address", said("B", "T", "/dns4/"+strings.Repeat("x", 300)+"/tcp/1"), Useless},
		{"of the operator, without an address", Told{Peer: peer.AddrInfo{ID: "B"}, Source: FromOperator}, Added},
	} {
		if got := b.Add(t0, step.told); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
	if !b.TakeChanged() || b.TakeChanged() {
		t.Error("whether it has changed is not told once")
	}
}

// A newer record takes the place of what older ones said; an older one, and one
// that is repeated, changes nothing. What was reached stays.
func TestNewerRecords(t *testing.T) {
	b := New()
	record := func(seq uint64, addrs ...string) Outcome {
		told := said("A", "T", addrs...)
		told.Seq = seq
		return b.Add(t0, told)
	}
	record(5, "/ip4/1.0.0.1/tcp/1", "/ip4/1.0.0.2/tcp/1")
	b.Reached(t0, "A", ma.StringCast("/ip4/1.0.0.1/tcp/1"))
	if v := record(4, "/ip4/6.6.6.6/tcp/1"); v != Stale {
		t.Errorf("older: %s", v)
	}
	if v := record(6, "/ip4/1.0.0.3/tcp/1"); v != Updated {
		t.Errorf("newer: %s", v)
	}
	if got := fmt.Sprint(b.Get("A").Multiaddrs()); got != "[/ip4/1.0.0.1/tcp/1 /ip4/1.0.0.3/tcp/1]" {
		t.Error(got)
	}
}

// What a peer says of itself takes the place of what a record with a greater number says:
// the clock that the number is of was ahead, and is right now. The order of what others
// pass on goes by the number of that.
func TestOwnWord(t *testing.T) {
	b := New()
	for i, step := range []struct {
		source Source
		seq    uint64
		addr   string
		want   Outcome
		addrs  string
	}{
		{FromExchange, 9, "/ip4/1.0.0.9/tcp/1", Added, "[/ip4/1.0.0.9/tcp/1]"},
		{FromExchange, 5, "/ip4/1.0.0.5/tcp/1", Stale, "[/ip4/1.0.0.9/tcp/1]"},
		{FromPeer, 5, "/ip4/1.0.0.5/tcp/1", Updated, "[/ip4/1.0.0.5/tcp/1]"},
		{FromExchange, 4, "/ip4/1.0.0.4/tcp/1", Stale, "[/ip4/1.0.0.5/tcp/1]"},
		{FromExchange, 5, "/ip4/1.0.0.5/tcp/1", Known, "[/ip4/1.0.0.5/tcp/1]"},
		{FromExchange, 6, "/ip4/1.0.0.6/tcp/1", Updated, "[/ip4/1.0.0.6/tcp/1]"},
		// Without a number it pushes out nothing.
		{FromExchange, 0, "/ip4/1.0.0.8/tcp/1", Updated, "[/ip4/1.0.0.6/tcp/1 /ip4/1.0.0.8/tcp/1]"},
		{FromExchange, 5, "/ip4/1.0.0.5/tcp/1", Stale, "[/ip4/1.0.0.6/tcp/1 /ip4/1.0.0.8/tcp/1]"},
		{FromPeer, 6, "/ip4/1.0.0.7/tcp/1", Updated, "[/ip4/1.0.0.7/tcp/1]"},
	} {
		told := said("A", "T", step.addr)
		told.Source, told.Seq = step.source, step.seq
		if v := b.Add(t0, told); v != step.want {
			t.Errorf("step %d: %s, want %s", i, v, step.want)
		}
		if got := fmt.Sprint(b.Get("A").Multiaddrs()); got != step.addrs {
			t.Errorf("step %d: %s, want %s", i, got, step.addrs)
		}
	}
}

// Row 31: however much is told, the book has its bounds, and what was reached
// before is not pushed out.
func TestBounds(t *testing.T) {
	b := New()
	for i := range 50 {
		b.Add(t0, said(id(i), "", own(i)))
		b.Reached(t0, id(i), nil)
	}
	boot := Told{Peer: peer.AddrInfo{ID: "boot", Addrs: []ma.Multiaddr{ma.StringCast("/dns4/boot.example/tcp/1")}}, Source: FromOperator}
	b.Add(t0, boot)
	count := func(flood func(i int) Told) (added int) {
		for i := range 30_000 {
			if b.Add(t0, flood(1000+i)) == Added {
				added++
			}
		}
		return added
	}
	if n := count(func(i int) Told { return said(id(i), "one", own(i)) }); n != MaxPerTeller {
		t.Errorf("%d of one teller", n)
	}
	if n := count(func(i int) Told { return said(id(i+100_000), id(i), fmt.Sprintf("/ip4/9.9.9.%d/tcp/%d", i%250, i)) }); n != MaxPerGroup {
		t.Errorf("%d of one neighbourhood", n)
	}
	if count(func(i int) Told { return said(id(i+200_000), id(i/10), own(i)) }); b.Len() > MaxPeers+1 || b.bySrc[FromExchange] > MaxPerSource {
		t.Errorf("%d in all, %d of one source", b.Len(), b.bySrc[FromExchange])
	}
	lan := func(i int) Told { x := said(id(i+300_000), "", own(i)); x.Source = FromLAN; return x }
	if count(lan); b.Len() > MaxPeers+1 {
		t.Errorf("%d in all", b.Len())
	}
	kept := 0
	for i := range 50 {
		if b.Get(id(i)) != nil {
			kept++
		}
	}
	if kept < 49 || b.Get("boot") == nil {
		t.Errorf("%d of 50 are left that were reached; boot node: %v", kept, b.Get("boot") != nil)
	}
	long := said("A", "", "/ip4/1.1.1.1/tcp/1")
	b.Add(t0, long)
	b.Reached(t0, "A", ma.StringCast("/ip4/1.1.1.1/tcp/1"))
	for i := range 100 {
		b.Add(t0, said("A", "", fmt.Sprintf("/ip4/2.2.2.%d/tcp/1", i)))
	}
	if a := b.Get("A"); len(a.Addrs) != MaxAddrs || fmt.Sprint(a.Multiaddrs()[0]) != "/ip4/1.1.1.1/tcp/1" {
		t.Errorf("%d addresses, the best is %v", len(a.Addrs), a.Multiaddrs()[0])
	}
	b.Expire(t0.Add(61 * 24 * time.Hour))
	if b.Len() != 1 || len(b.tellers)+len(b.groups) != 0 || b.bySrc != [sources]int{} {
		t.Errorf("%d are left, counts %d %d %v", b.Len(), len(b.tellers), len(b.groups), b.bySrc)
	}
}

func TestExpiry(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name  string
		do    func(b *Book)
		after time.Duration
		gone  bool
	}{
		{"never reached, six days", func(*Book) {}, 6 * day, false},
		{"never reached, eight days", func(*Book) {}, 8 * day, true},
		{"never reached, tried in vain", func(b *Book) { fail(b, maxFails) }, 0, true},
		{"never reached, once less", func(b *Book) { fail(b, maxFails-1) }, 0, false},
		{"reached, fifty days", func(b *Book) { b.Reached(t0, "A", nil) }, 50 * day, false},
		{"reached, seventy days", func(b *Book) { b.Reached(t0, "A", nil) }, 70 * day, true},
		{"reached, then long in vain", func(b *Book) { b.Reached(t0, "A", nil); fail(b, maxFailsProven) }, 8 * day, true},
		{"reached, then a bad day", func(b *Book) { b.Reached(t0, "A", nil); fail(b, maxFailsProven) }, day, false},
		{"of the operator, for years", func(b *Book) {
			b.Add(t0, Told{Peer: peer.AddrInfo{ID: "A"}, Source: FromOperator})
			fail(b, 1000)
		}, 3000 * day, false},
	} {
		b := New()
		b.Add(t0, said("A", "T", own(1)))
		tt.do(b)
		b.Expire(t0.Add(tt.after))
		if gone := b.Get("A") == nil; gone != tt.gone {
			t.Errorf("%s: forgotten %v", tt.name, gone)
		}
	}
}

func fail(b *Book, n int) {
	for range n {
		b.Failed("A", 18, time.Time{}, true)
	}
}

// A failure that may be this node's own is no mark against the peer.
func TestFailuresThatDoNotCount(t *testing.T) {
	b := New()
	b.Add(t0, said("A", "T", own(1)))
	b.Failed("A", 18, t0.Add(time.Hour), false)
	if e := b.Get("A"); e.Fails != 0 || !e.Next.Equal(t0.Add(time.Hour)) {
		t.Errorf("%d failures, next %v", e.Fails, e.Next)
	}
	b.Retry(func(*Entry) (time.Time, bool) { return t0, true })
	if e := b.Get("A"); !e.Next.Equal(t0) {
		t.Errorf("next %v", e.Next)
	}
}

func TestBansAreBounded(t *testing.T) {
	b := New()
	for i := range 2 * MaxBans {
		b.SetBan(Ban{ID: id(i), Until: t0.Add(time.Duration(i) * time.Second), Reason: strings.Repeat("x", 1000)})
	}
	net := netip.MustParsePrefix("192.0.2.0/24")
	b.SetBan(Ban{Prefix: net, Until: t0.Add(1000 * time.Hour)})
	list := b.Bans(t0)
	if len(b.bans) != MaxBans || list[len(list)-1].Prefix != net || len(list[0].Reason) > MaxReason {
		t.Errorf("%d bans", len(b.bans))
	}
	b.UnbanOf(net)
	b.Unban(list[1].ID)
	if len(b.bans) != MaxBans-2 {
		t.Errorf("%d bans", len(b.bans))
	}
	b.Expire(t0.Add(1100 * time.Hour))
	if len(b.bans) != 0 {
		t.Errorf("%d bans are left", len(b.bans))
	}
}
