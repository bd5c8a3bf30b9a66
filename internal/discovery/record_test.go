package discovery

import (
	"bytes"
	"testing"

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
			got, err := parseRecord(c.raw)
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
