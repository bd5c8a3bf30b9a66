package discovery

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
)

// otherRecord is a record of another kind.
type otherRecord struct{ peer.PeerRecord }

func (*otherRecord) Codec() []byte { return []byte{0x7f, 0x7f} }

// otherDomain signs a peer record for another purpose.
type otherDomain struct{ peer.PeerRecord }

func (*otherDomain) Domain() string { return "elsewhere" }

var (
	_ record.Record = (*otherRecord)(nil)
	_ record.Record = (*otherDomain)(nil)
)

func TestParseRecord(t *testing.T) {
	const addr = "/ip4/5.0.1.1/tcp/4001"
	k, id := key(t, 1)
	_, foreign := key(t, 2)
	rec := peer.PeerRecord{PeerID: id, Seq: 1, Addrs: multiaddrs(addr)}
	good := seal(t, k, &rec)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name string
		raw  []byte
		err  error
	}{
		{"good", good, nil},
		{"no addresses", signed(t, 1), nil},
		{"signature", forged, FaultRecord},
		{"another peer's", seal(t, k, &peer.PeerRecord{PeerID: foreign, Addrs: rec.Addrs}), FaultRecord},
		{"no peer", seal(t, k, &otherRecord{}), FaultRecord},
		{"another kind", seal(t, k, &otherRecord{rec}), FaultRecord},
		{"another domain", seal(t, k, &otherDomain{rec}), FaultRecord},
		{"empty", nil, FaultRecord},
		{"garbage", []byte("garbage"), FaultRecord},
		{"cut", good[:len(good)/2], FaultRecord},
		{"large", signed(t, 1, many(400, addr)...), FaultOversize},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := newBook(nil).parse(c.raw, MaxRecord)
			if !is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err == nil && got.PeerID != id {
				t.Errorf("got %s", got.PeerID)
			}
		})
	}
}

func many(n int, addr string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = addr
	}
	return out
}

func TestParseRecordsIsAllOrNothing(t *testing.T) {
	parseRecords := newBook(nil).parseAll
	a, b := signed(t, 1, "/ip4/5.0.1.1/tcp/1"), signed(t, 2, "/ip4/5.0.2.1/tcp/1")
	if got, err := parseRecords([][]byte{a, b}); err != nil || len(got) != 2 {
		t.Errorf("two: %v, %v", got, err)
	}
	if got, err := parseRecords([][]byte{a, b, a}); !is(err, FaultCount) || got != nil {
		t.Errorf("one twice: %v, %v", got, err)
	}
	if got, err := parseRecords([][]byte{a, []byte("x")}); !is(err, FaultRecord) || got != nil {
		t.Errorf("one bad: %v, %v", got, err)
	}
}

// The very bytes that a peer has told of itself are not verified again; whatever differs
// from them is, and they help nothing else through.
func TestSameBytes(t *testing.T) {
	k, id := key(t, 1)
	good := signed(t, 1, "/ip4/5.0.1.1/tcp/4001")
	b := newBook(nil)
	kept, err := b.parse(good, MaxRecord)
	if err != nil {
		t.Fatal(err)
	}
	b.records.Add(id, kept)
	if got, err := b.parse(bytes.Clone(good), MaxRecord); got != kept || err != nil {
		t.Errorf("the same: %v, %v", got, err)
	}
	other := seal(t, k, &peer.PeerRecord{PeerID: id, Seq: 2, Addrs: multiaddrs("/ip4/5.0.1.1/tcp/4001")})
	if got, err := b.parse(other, MaxRecord); got == nil || got == kept || err != nil {
		t.Errorf("another one of the peer: %v, %v", got, err)
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if got, err := b.parse(changed, MaxRecord); err == nil {
			t.Fatalf("byte %d changed: %v", i, got)
		}
	}
	if got, err := b.parse(append(bytes.Clone(good), 0), MaxRecord); err == nil {
		t.Errorf("a byte more: %v", got)
	}
	if _, err := b.parse(good, len(good)-1); !is(err, FaultOversize) {
		t.Errorf("above the limit: %v", err)
	}
}

// A number is a time. Of what others pass on none from the future is believed: it is
// smaller than all that are, in 1999 and later. What a peer says of itself is said now.
func TestDated(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) uint64 { return uint64(now.Add(d).UnixNano()) }
	for _, c := range []struct {
		name               string
		now                time.Time
		seq, dated, spoken uint64
	}{
		{"none", now, 0, 0, 0},
		{"a small number", now, 7, 7, 7},
		{"milliseconds", now, uint64(now.UnixMilli()), uint64(now.UnixMilli()), uint64(now.UnixMilli())},
		{"of before", now, at(-time.Hour), at(-time.Hour), at(-time.Hour)},
		{"a little ahead", now, at(maxAhead), at(maxAhead), at(0)},
		{"ahead", now, at(maxAhead + 1), at(maxAhead+1) >> 16, at(0)},
		{"a year ahead", now, at(365 * 24 * time.Hour), at(365*24*time.Hour) >> 16, at(0)},
		{"the greatest", now, math.MaxUint64, 1<<48 - 1, at(0)},
		{"own clock in 1970", time.Unix(9, 0), at(0), at(0) >> 16, at(0) >> 16},
		{"own clock before 1970", time.Unix(-1_000_000, 0), at(0), at(0) >> 16, at(0) >> 16},
	} {
		if got := dated(c.now, c.seq); got != c.dated {
			t.Errorf("%s: dated %d, want %d", c.name, got, c.dated)
		}
		if got := heard(c.now, c.seq); got != c.spoken {
			t.Errorf("%s: heard %d, want %d", c.name, got, c.spoken)
		}
	}
}
