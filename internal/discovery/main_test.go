package discovery

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key returns the i-th key of these tests: equal in every run.
func key(tb testing.TB, i int) (crypto.PrivKey, peer.ID) {
	tb.Helper()
	seed := make([]byte, 32)
	binary.BigEndian.PutUint64(seed, uint64(i)+1)
	k, _, err := crypto.GenerateEd25519Key(bytes.NewReader(seed))
	if err != nil {
		tb.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	return k, id
}

// signed returns the record of peer i with these addresses.
func signed(tb testing.TB, i int, addrs ...string) []byte {
	tb.Helper()
	k, id := key(tb, i)
	return seal(tb, k, &peer.PeerRecord{PeerID: id, Seq: 1, Addrs: multiaddrs(addrs...)})
}

func seal(tb testing.TB, k crypto.PrivKey, r record.Record) []byte {
	tb.Helper()
	env, err := record.Seal(r, k)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := env.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func multiaddrs(addrs ...string) []ma.Multiaddr {
	out := make([]ma.Multiaddr, len(addrs))
	for i, a := range addrs {
		out[i] = ma.StringCast(a)
	}
	return out
}

func recordOf(id peer.ID, addrs ...string) *peer.PeerRecord {
	return &peer.PeerRecord{PeerID: id, Seq: 1, Addrs: multiaddrs(addrs...)}
}
