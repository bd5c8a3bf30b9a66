package book

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func sampleBook() *Book {
	b := New()
	told := said("A", "T", own(1), "/ip6/2001:db8::1/udp/1/quic-v1")
	told.Seq, told.Agent = 7, "prog/1"
	b.Add(t0, told)
	b.Reached(t0, "A", ma.StringCast(own(1)))
	b.Left(t0, "A", 15, 3.5, t0.Add(time.Hour))
	b.Add(t0, said("B", "", own(2)))
	b.Failed("B", 18, t0, true)
	b.Add(t0, Told{Peer: said("C", "", "/dns4/boot.example/tcp/1").Peer, Source: FromOperator})
	b.Blame(func(p peer.ID) float64 { return map[peer.ID]float64{"B": 61.5}[p] })
	b.SetBan(Ban{ID: "D", Since: t0, Until: t0.Add(time.Hour), Times: 2, Reason: "spam"})
	b.SetBan(Ban{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Since: t0, Until: t0.Add(time.Minute), Times: 1})
	return b
}

func TestRoundTrip(t *testing.T) {
	b := sampleBook()
	got, err := Decode(b.Append([]byte(nil), t0), t0)
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.Options{
		cmp.AllowUnexported(Book{}), cmpopts.IgnoreTypes(clock{}), cmpopts.IgnoreUnexported(Entry{}), cmpopts.IgnoreFields(Entry{}, "Next"),
		cmpopts.IgnoreFields(Book{}, "changed"), cmpopts.EquateComparable(netip.Prefix{}),
	}
	if d := cmp.Diff(b, got, opts); d != "" {
		t.Error(d)
	}
	if got.Get("A").Group() != b.Get("A").Group() || !got.Get("A").Next.IsZero() {
		t.Error("neighbourhood or waiting time differ")
	}
	got.Restart()
	if got.Get("C").Kept {
		t.Error("what the operator named in an earlier run is still kept")
	}
}

// Row 39: a clock that was set back makes no ban longer and no peer younger, and one
// that was set ahead forgets none that was reached, however far.
func TestClockIsSet(t *testing.T) {
	const day = 24 * time.Hour
	saved := t0.Add(2 * day) // A was reached two days ago, B heard of and never reached
	b := sampleBook()
	b.SetBan(Ban{ID: "D", Since: saved, Until: saved.Add(time.Hour), Times: 2})
	raw := b.Append(nil, saved)
	for name, tt := range map[string]struct {
		now       time.Time
		left, age time.Duration // of the ban, of A
		unproven  bool
	}{
		"a minute later": {saved.Add(time.Minute), time.Hour - time.Minute, 2*day + time.Minute, true},
		"a day back":     {saved.Add(-day), time.Hour, 2 * day, true},
		"years back":     {saved.Add(-10 * 365 * day), time.Hour, 2 * day, true},
		"an age back":    {time.Unix(1000, 0), time.Hour, 999 * time.Second, true},
		"a month ahead":  {saved.Add(30 * day), -30*day + time.Hour, 32 * day, false},
		"a year ahead":   {saved.Add(365 * day), -365*day + time.Hour, 32 * day, false},
		"an age ahead":   {saved.Add(100 * 365 * day), -100*365*day + time.Hour, 32 * day, false},
	} {
		b, err := Decode(raw, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := b.Ban("D"); ok && (x.Until.Sub(tt.now) != tt.left || x.Times != 2) || ok != (tt.left > -day) {
			t.Errorf("%s: banned %v for %s", name, ok, x.Until.Sub(tt.now))
		}
		if e := b.Get("A"); e == nil || e.Good != tt.now.Add(-tt.age).Unix() || e.Seen != e.Good || e.Addrs[0].Good != e.Good {
			t.Errorf("%s: %+v", name, e)
		}
		if b.Get("C") == nil || (b.Get("B") != nil) != tt.unproven {
			t.Errorf("%s: %+v, %+v", name, b.Get("B"), b.Get("C"))
		}
	}
}

// Row 39: while a node runs, its clock is set by years, as NTP does on a machine that has
// no clock of its own. Nobody is older for it, what is saved then is right by the new
// clock, and what comes later is younger than what was before.
func TestClockIsSetMeanwhile(t *testing.T) {
	for _, by := range []time.Duration{26 * 365 * 24 * time.Hour, -40 * 24 * time.Hour} {
		begin := time.Now()
		b := New()
		b.Add(begin, said("A", "T", own(1)))
		b.Reached(begin, "A", nil)
		b.SetBan(Ban{ID: "D", Since: begin, Until: begin.Add(time.Hour), Times: 1})
		now := setClock(begin.Add(time.Minute), by)
		b.Expire(now)
		b.Add(now, said("B", "T", own(2)))
		b.Expire(now)
		if a, c := b.Get("A"), b.Get("B"); a == nil || c == nil || c.Seen-a.Seen != 60 {
			t.Fatalf("set by %s: %+v, %+v", by, a, c)
		}
		saved := now.Round(0)
		got, err := Decode(b.Append(nil, now), saved)
		if err != nil {
			t.Fatal(err)
		}
		if a, c := got.Get("A"), got.Get("B"); a == nil || c == nil || saved.Unix()-a.Good != 60 || saved.Unix() != c.Seen {
			t.Errorf("set by %s, and loaded again: %+v, %+v", by, a, c)
		}
		if x, _ := got.Ban("D"); x.Until.Sub(saved) != 59*time.Minute {
			t.Errorf("set by %s: banned for %s", by, x.Until.Sub(saved))
		}
	}
}

// setClock is a time as time.Now tells it after the wall clock was set: the monotonic
// clock that it carries too goes on as before. Package time has no way to make one.
func setClock(now time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&now)) // 1 bit, 33 of seconds, 30 of nanoseconds
	*wall += uint64(by/time.Second) << 30
	return now
}

// Row 41: every damage to a file is noticed.
func TestDamage(t *testing.T) {
	raw := sampleBook().Append(nil, t0)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		if _, err := Decode(bad, t0); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := Decode(raw[:i], t0); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := Decode(make([]byte, MaxSize+1), t0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("too large: %v", err)
	}
}

// full is a book of as many peers as there can be, of three addresses each.
func full() *Book {
	b := New()
	for i := range MaxPeers {
		told := said(id(i), id(i/100), own(i), own(i)+"1", own(i)+"2")
		told.Agent = "some-program/1.2.3"
		told.Source = Source(3 + i%4)
		b.Add(t0, told)
		if i%2 == 0 {
			b.Reached(t0, id(i), nil)
		}
	}
	return b
}

// A full book takes at most 16 MiB; BenchmarkDecode shows the time.
func TestFullBookIsCheap(t *testing.T) {
	raw := full().Append(nil, t0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b, err := Decode(raw, t0)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d peers in %d KiB: %d KiB of memory", b.Len(), len(raw)>>10, size>>10)
	if b.Len() != MaxPeers || size > 16<<20 {
		t.Errorf("%d peers take %d KiB", b.Len(), size>>10)
	}
	runtime.KeepAlive(b)
}

func BenchmarkDecode(b *testing.B) {
	raw := full().Append(nil, t0)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode(raw, t0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	full := full()
	var raw []byte
	for b.Loop() {
		raw = full.Append(raw[:0], t0)
	}
}

// FuzzDecode takes whatever is in a file: the checksum, which no fuzzer finds,
// is put right.
func FuzzDecode(f *testing.F) {
	raw := sampleBook().Append(nil, t0)
	f.Add(raw[len(magic) : len(raw)-32])
	f.Add([]byte{0x12, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := Decode(seal(body), t0)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for e := range b.All() {
			e.Multiaddrs()
			if len(e.Addrs) > MaxAddrsKept || !e.Kept && len(e.Addrs) > MaxAddrs || len(e.Agent) > MaxAgent || max(e.Seen, e.Good, e.Met, e.Added, e.Tried) > t0.Unix() {
				t.Errorf("%+v", e)
			}
		}
		again, err := Decode(b.Append(nil, t0), t0)
		if err != nil || again.Len() != b.Len() || len(again.bans) != len(b.bans) {
			t.Errorf("%d peers, then %v: %v", b.Len(), again, err)
		}
	})
}

func seal(body []byte) []byte {
	raw := append([]byte(magic), body...)
	sum := sha256.Sum256(raw)
	return append(raw, sum[:]...)
}

func TestFileIsMissing(t *testing.T) {
	f := File(t.TempDir() + "/peers.book")
	if raw, err := f.Load(); raw != nil || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
	if err := f.Save([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(string(f)); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", st, err)
	}
	if where, err := f.SetAside(); err != nil || where == string(f) {
		t.Errorf("%s, %v", where, err)
	}
	if raw, err := f.Load(); raw != nil || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
}
