package netservice

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// knownPerPeer is how many messages are remembered per peer and generation;
// two generations are kept, 16 bytes a message.
const knownPerPeer = 4096

// known remembers which peers have which messages, so that a relay never
// echoes. It only ever saves sending: when it forgets, a peer gets a message
// twice and its own filter drops the copy.
type known struct {
	seed maphash.Seed

	mu    sync.Mutex // guards peers
	peers map[peer.ID]*generations
}

// msgKey identifies type and payload; a collision would cost one peer one
// message, with a probability of about 2^-64 per pair.
type msgKey uint64

// generations is a set that forgets its older half when it is full.
type generations struct {
	mu       sync.Mutex // guards both
	now, old map[msgKey]struct{}
}

func newKnown() *known {
	return &known{seed: maphash.MakeSeed(), peers: make(map[peer.ID]*generations)}
}

// key hashes the type, length first, and the payload.
func (k *known) key(msgType string, data []byte) msgKey {
	var h maphash.Hash
	h.SetSeed(k.seed)
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(msgType)))
	h.Write(n[:])
	h.WriteString(msgType)
	h.Write(data)
	return msgKey(h.Sum64())
}

// join makes room for a peer; marks of other peers are ignored.
func (k *known) join(p peer.ID) {
	k.mu.Lock()
	k.peers[p] = &generations{now: make(map[msgKey]struct{})}
	k.mu.Unlock()
}

// mark remembers that p has the message, and tells whether it was known before.
func (k *known) mark(p peer.ID, key msgKey) (before bool) {
	k.mu.Lock()
	g := k.peers[p]
	k.mu.Unlock()
	return g != nil && g.add(key)
}

// unmark forgets a message that could not be queued for p after all.
func (k *known) unmark(p peer.ID, key msgKey) {
	k.mu.Lock()
	g := k.peers[p]
	k.mu.Unlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.now, key)
	delete(g.old, key)
}

// forget drops all about a peer that is gone.
func (k *known) forget(p peer.ID) {
	k.mu.Lock()
	delete(k.peers, p)
	k.mu.Unlock()
}

func (g *generations) add(key msgKey) (before bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.now[key]; ok {
		return true
	}
	_, before = g.old[key]
	if len(g.now) >= knownPerPeer {
		g.old, g.now = g.now, make(map[msgKey]struct{})
	}
	g.now[key] = struct{}{}
	return before
}
