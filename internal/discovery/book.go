package discovery

import (
	"bytes"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
)

const (
	maxBook = 2048    // records kept; connected peers are far fewer
	maxOwn  = 8 << 10 // bytes of one; a peer may say more of itself than is passed on
)

// book keeps what each connected peer says of itself, verified once. Sessions bring it,
// and identify, which verifies records and then lets them go.
type book struct {
	host    host.Host
	mu      sync.Mutex // makes put one step
	records *lru.Cache[peer.ID, *signedRecord]
}

func newBook(h host.Host) *book {
	return &book{host: h, records: newLRU[*signedRecord](maxBook)}
}

// follow takes in one event of the host.
func (b *book) follow(ev any) {
	switch ev := ev.(type) {
	case event.EvtPeerIdentificationCompleted:
		if ev.SignedPeerRecord == nil {
			return
		}
		raw, err := ev.SignedPeerRecord.Marshal()
		if err != nil {
			return
		}
		if r, err := b.parse(raw, maxOwn); err == nil && r.PeerID == ev.Peer && len(r.Addrs) > 0 {
			b.put(r, false)
		}
	case event.EvtPeerConnectednessChanged:
		if ev.Connectedness == network.NotConnected {
			b.records.Remove(ev.Peer)
		}
	}
}

// put makes r what its peer says of itself, unless it is older than what is there.
//
// latest is true of what comes in the peer's session, one record after the other: the
// last one counts, whatever its number. The clock that the number is of may have been
// ahead before the peer started anew. What identify brings may be overtaken by the
// session, within which numbers only grow.
func (b *book) put(r *signedRecord, latest bool) {
	b.mu.Lock()
	if old, ok := b.records.Peek(r.PeerID); !ok || latest || r.Seq > old.Seq {
		b.records.Add(r.PeerID, r)
	}
	b.mu.Unlock()
	// A peer that has left meanwhile must not leave a record behind. If it leaves
	// from here on, the event is still to come.
	if b.host.Network().Connectedness(r.PeerID) == network.NotConnected {
		b.records.Remove(r.PeerID)
	}
}

// get returns what a connected peer says of itself, nil when it has said nothing.
func (b *book) get(p peer.ID) *signedRecord {
	r, _ := b.records.Get(p)
	return r
}

// sharable returns the record of a connected peer as it is passed on, nil when there is
// none that every receiver accepts and has a use for.
func (b *book) sharable(p peer.ID) []byte {
	r := b.get(p)
	if r == nil || len(r.raw) > MaxRecord || len(r.Addrs) == 0 {
		return nil
	}
	return r.raw
}

// parse verifies a signed peer record of at most so many bytes, unless the very same
// bytes are in the book: they were verified when they came first.
//
// An answerer passes on only what it has put through here itself, so that a peer cannot
// make others violate the protocol by the record it gives them.
func (b *book) parse(raw []byte, most int) (*signedRecord, error) {
	if len(raw) > most {
		return nil, faultf(FaultOversize, "record of %d bytes", len(raw))
	}
	if r := b.same(raw); r != nil {
		return r, nil
	}
	return verify(raw)
}

// same returns the record in the book that has these bytes, nil when none has. Whose
// record to compare with is read from the bytes before anything in them is proven, and
// nothing else is.
func (b *book) same(raw []byte) *signedRecord {
	env, err := record.UnmarshalEnvelope(raw)
	if err != nil {
		return nil
	}
	p, err := peer.IDFromPublicKey(env.PublicKey)
	if err != nil {
		return nil
	}
	if r, ok := b.records.Peek(p); ok && bytes.Equal(r.raw, raw) {
		return r
	}
	return nil
}

// parseAll takes the records of one reply, all of them or none.
func (b *book) parseAll(raw [][]byte) ([]*signedRecord, error) {
	seen := make(map[peer.ID]bool, len(raw))
	out := make([]*signedRecord, 0, len(raw))
	for _, one := range raw {
		rec, err := b.parse(one, MaxRecord)
		if err != nil {
			return nil, err
		}
		if seen[rec.PeerID] {
			return nil, faultf(FaultCount, "a peer twice")
		}
		seen[rec.PeerID] = true
		out = append(out, rec)
	}
	return out, nil
}
