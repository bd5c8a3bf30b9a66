package netservice_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
	"github.com/go-nebnet/nebnet/netservice"
)

// rogue is a whole service that speaks of large broadcasts by hand.
type rogue struct {
	t  *testing.T
	h  host.Host
	id string // of the network
	on func(r *rogue, p peer.ID, f wire.Frame)

	// writing lets one write at a time. In a bubble of virtual time a mutex that is held
	// while the network blocks would stop the clock.
	writing chan struct{}
	outs    map[peer.ID]network.Stream

	mu   sync.Mutex // guards hear
	hear map[wire.Kind]int
}

// rogue has a node speak by hand from now on; on is given what it hears. It comes before
// the first broadcast: streams that are open already are not its.
func (n *largeNet) rogue(i int, on func(r *rogue, p peer.ID, f wire.Frame)) *rogue {
	node := n.nodes[i].Service().Node()
	r := &rogue{
		t: n.t, h: node.Host(), id: node.Network(), on: on,
		writing: make(chan struct{}, 1), outs: make(map[peer.ID]network.Stream), hear: make(map[wire.Kind]int),
	}
	r.h.SetStreamHandler(swarm.Protocol(r.id), func(s network.Stream) {
		b := bufio.NewReader(s)
		for {
			f, err := readLarge(b)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.hear[f.Kind]++
			r.mu.Unlock()
			if r.on != nil {
				r.on(r, s.Conn().RemotePeer(), f)
			}
		}
	})
	return r
}

func readLarge(b *bufio.Reader) (f wire.Frame, err error) {
	size, err := binary.ReadUvarint(b)
	if err != nil {
		return f, err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(b, body); err != nil {
		return f, err
	}
	return wire.Decode(body)
}

// say says frames to a peer. It is false when the peer does not listen any more.
func (r *rogue) say(p peer.ID, fs ...*wire.Frame) bool {
	var b []byte
	for _, f := range fs {
		b = wire.Append(b, f)
	}
	r.writing <- struct{}{}
	defer func() { <-r.writing }()
	if r.outs[p] == nil {
		s, err := r.h.NewStream(network.WithNoDial(r.t.Context(), "rogue"), p, swarm.Protocol(r.id))
		if err != nil {
			return false
		}
		r.outs[p] = s
	}
	_, err := r.outs[p].Write(b)
	return err == nil
}

func (r *rogue) heard(k wire.Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hear[k]
}

// pretends says to all peers to have whatever it hears of.
func pretends(r *rogue, _ peer.ID, f wire.Frame) {
	if f.Kind != wire.Announce {
		return
	}
	for _, q := range r.h.Network().Peers() {
		r.say(q, &wire.Frame{Kind: wire.Announce, Number: uint32(r.heard(wire.Announce)), Manifest: f.Manifest, Whole: true})
	}
}

// lies says to all peers to have whatever it hears of, and sends other bytes.
func lies(r *rogue, p peer.ID, f wire.Frame) {
	pretends(r, p, f)
	if f.Kind != wire.Want {
		return
	}
	for c := range f.Chunks.All() {
		r.say(p, &wire.Frame{Kind: wire.Chunk, Number: f.Number, Yours: !f.Yours, Index: c, Data: make([]byte, 16<<10)})
	}
}

// manifest is that of a message with a header that is signed by a node.
func (n *largeNet) manifest(i int, data []byte) *wire.Manifest {
	m := wire.NewManifest(largeType.Name(), data, nil)
	s := n.nodes[i].Service()
	h := netservice.SignedHeaders(largeKey(n.t, i), nil)
	b, err := h.Make(netservice.LargeHeader{Type: m.Type, Digest: m.Digest(s.Node().Network()), Size: m.Size}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	m.Header = b
	return m
}

// bans counts which peers are banned by how many nodes, from now on.
type bans struct {
	mu sync.Mutex // guards by
	by map[peer.ID]map[int]bool
}

func (n *largeNet) bans() *bans {
	b := &bans{by: make(map[peer.ID]map[int]bool)}
	for i, nd := range n.nodes {
		events := nd.Service().SubscribePeers(netservice.PeerBanned)
		go func() {
			for e := range events.Events() {
				b.mu.Lock()
				if b.by[e.Peer] == nil {
					b.by[e.Peer] = make(map[int]bool)
				}
				b.by[e.Peer][i] = true
				b.mu.Unlock()
			}
		}()
	}
	return b
}

func (b *bans) of(p peer.ID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.by[p])
}

func (b *bans) peers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.by)
}

// largeWait waits in virtual time.
func largeWait(t *testing.T, what string, d time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %s: %s", d, what)
		}
	}
}
