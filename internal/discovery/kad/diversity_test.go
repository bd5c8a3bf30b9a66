package kad

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	ma "github.com/multiformats/go-multiaddr"
)

// places is a host that is connected with peers at these addresses.
type places map[peer.ID]string

type placesHost struct {
	host.Host
	network placesNetwork
}

type placesNetwork struct {
	network.Network
	at places
}

type placesConn struct {
	network.Conn
	at ma.Multiaddr
}

func (h placesHost) Network() network.Network { return h.network }

func (n placesNetwork) ConnsToPeer(p peer.ID) []network.Conn {
	if a, ok := n.at[p]; ok {
		return []network.Conn{placesConn{at: ma.StringCast(a)}}
	}
	return nil
}

func (c placesConn) RemoteMultiaddr() ma.Multiaddr { return c.at }

func (p places) diversity() *diversity {
	private := ma.StringCast("/ip4/10.0.0.1/tcp/1")
	return newDiversity(placesHost{network: placesNetwork{at: p}}, private.Equal)
}

func TestDiversity(t *testing.T) {
	at := places{}
	d := at.diversity()
	// put asks for a peer at an address in a bucket, and takes it in if it may be.
	n := 0
	put := func(addr string, cpl int) bool {
		n++
		g := peerdiversity.PeerGroupInfo{Id: peer.ID(fmt.Sprint("peer", n)), Cpl: cpl}
		at[g.Id] = addr
		ok := d.Allow(g)
		if ok {
			d.Increment(g)
			d.Increment(g) // for each of its addresses
		}
		return ok
	}
	taken := 0
	for i := range 3 * maxPerTable { // three for each bucket
		if put(fmt.Sprintf("/ip4/5.1.1.%d/tcp/1", i), i/3) {
			taken++
			if i%3 >= maxPerBucket {
				t.Errorf("the third of a neighbourhood is in bucket %d", i/3)
			}
		}
	}
	if taken != maxPerTable {
		t.Errorf("%d of one neighbourhood, want %d", taken, maxPerTable)
	}
	for _, addr := range []string{"/ip4/5.1.2.1/tcp/1", "/ip6/2a00:1::1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"} {
		if !put(addr, 0) {
			t.Errorf("%s is refused", addr)
		}
	}
	for i := range 3 {
		if got := put(fmt.Sprintf("/ip6/2a00:2:0:%d::1/tcp/1", i), 9); got != (i < maxPerBucket) {
			t.Errorf("number %d of a /48 is taken: %v", i, got)
		}
	}
	// Who is not connected is of no neighbourhood that could be counted.
	if !d.Allow(peerdiversity.PeerGroupInfo{Id: "gone"}) {
		t.Error("a peer without a connection is refused")
	}
	gone := peerdiversity.PeerGroupInfo{Id: "peer1", Cpl: 0}
	delete(at, gone.Id) // its connection has ended by then
	d.Decrement(gone)
	d.Decrement(gone)
	if !put("/ip4/5.1.1.99/tcp/1", 0) {
		t.Error("a free place in a bucket is not given away")
	}
}

// Row 33: IDs that are ground to fall into every bucket get two places in each and
// ten in all when they are of one /24, and those that were there stay.
func TestGroundIDsDoNotFillTheTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	newID := func() peer.ID {
		raw := make([]byte, 32)
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		return peer.ID(raw)
	}
	self := newID()
	local := kb.ConvertPeerID(self)
	at := places{}
	cpl := func(p peer.ID) int { return kb.CommonPrefixLen(kb.ConvertPeerID(p), local) }
	filter, err := peerdiversity.NewFilter(at.diversity(), "test", cpl)
	if err != nil {
		t.Fatal(err)
	}
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	table, err := kb.NewRoutingTable(20, local, time.Hour, store, time.Hour, filter)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	honest := make(map[peer.ID]bool)
	for i := range 40 {
		p := newID()
		at[p] = fmt.Sprintf("/ip4/7.%d.1.1/tcp/1", i)
		if ok, _ := table.TryAddPeer(p, true, false); ok {
			honest[p] = true
		}
	}
	if len(honest) < 20 {
		t.Fatalf("%d honest peers in the table", len(honest))
	}
	buckets := make(map[int]int)
	hostile := 0
	for i := range 5000 {
		p := newID()
		at[p] = fmt.Sprintf("/ip4/5.1.1.%d/tcp/1", i%250+1)
		if ok, _ := table.TryAddPeer(p, true, false); ok {
			hostile++
			buckets[cpl(p)]++
		}
	}
	if hostile == 0 || hostile > maxPerTable {
		t.Errorf("%d of one /24 are in the table, want 1 to %d", hostile, maxPerTable)
	}
	for c, n := range buckets {
		if n > maxPerBucket {
			t.Errorf("%d of one /24 are in bucket %d", n, c)
		}
	}
	for p := range honest {
		if table.Find(p) == "" {
			t.Errorf("%s, which was there before, is gone", p)
		}
	}
}
