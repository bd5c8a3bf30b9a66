package discovery

import (
	"bytes"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func FuzzRequest(f *testing.F) {
	f.Add(appendFrame(nil, encodeRequest(16)))
	f.Fuzz(func(t *testing.T, in []byte) {
		body, err := readFrame(bytes.NewReader(in), maxRequest)
		if err != nil {
			return
		}
		count, err := decodeRequest(body)
		if err != nil {
			return
		}
		if count < 1 || count > MaxRecords {
			t.Fatalf("asked for %d", count)
		}
		if again, err := decodeRequest(encodeRequest(count)); again != count || err != nil {
			t.Fatalf("%d became %d, %v", count, again, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(appendFrame(nil, encodeReply([][]byte{[]byte("a"), []byte("b")})), 16)
	f.Fuzz(func(t *testing.T, in []byte, asked int) {
		asked = int(uint(asked) % (MaxRecords + 1))
		records, err := readReply(bytes.NewReader(in), asked)
		if err != nil {
			return
		}
		if len(records) > asked {
			t.Fatalf("%d records of %d", len(records), asked)
		}
		again, err := readReply(bytes.NewReader(appendFrame(nil, encodeReply(records))), asked)
		if err != nil || len(again) != len(records) {
			t.Fatalf("%d records became %d, %v", len(records), len(again), err)
		}
		newBook(nil).parseAll(records)
	})
}

// FuzzRecord looks for records that pass and give an address that must not be
// dialled.
func FuzzRecord(f *testing.F) {
	f.Add(signed(f, 1, "/ip4/5.0.1.1/tcp/4001", "/dns4/a.example/tcp/1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, err := newBook(nil).parse(in, MaxRecord)
		if err != nil {
			return
		}
		check(t, usable(rec.PeerRecord, func(ma.Multiaddr) bool { return true }, func(peer.ID) bool { return true }))
	})
}

// FuzzAddr is FuzzRecord without a signature in the way.
func FuzzAddr(f *testing.F) {
	_, id := key(f, 1)
	for _, a := range multiaddrs("/ip4/5.0.1.1/tcp/4001", "/ip6/::1/udp/1/quic-v1", "/dns4/a.example/tcp/1",
		"/ip4/5.0.1.1/tcp/1/p2p/"+id.String()+"/p2p-circuit") {
		f.Add(a.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := ma.NewMultiaddrBytes(in)
		if err != nil || len(a) == 0 {
			return
		}
		rec := &peer.PeerRecord{PeerID: id, Addrs: []ma.Multiaddr{a}}
		check(t, usable(rec, func(ma.Multiaddr) bool { return true }, func(peer.ID) bool { return true }))
	})
}

func check(t *testing.T, addrs []ma.Multiaddr) {
	if len(addrs) > maxAddrs {
		t.Fatalf("%d addresses", len(addrs))
	}
	for _, a := range addrs {
		if n := len(a) - 1; a[n].Protocol().Code == ma.P_CIRCUIT {
			a, _ = peer.SplitAddr(a[:n])
		}
		if c := a[0].Protocol().Code; c != ma.P_IP4 && c != ma.P_IP6 {
			t.Fatalf("%s", a)
		}
		ma.ForEach(a, func(c ma.Component) bool {
			switch c.Protocol().Code {
			case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR, ma.P_CIRCUIT, ma.P_P2P, ma.P_SNI:
				t.Fatalf("%s", a)
			}
			return true
		})
	}
}
