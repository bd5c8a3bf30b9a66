package discovery

import (
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
)

// maxBook bounds the records kept; connected peers are far fewer.
const maxBook = 2048

// book keeps the signed records of connected peers. Identify verifies them and
// then lets them go, so they are taken from its event.
type book struct {
	host    host.Host
	records *lru.Cache[peer.ID, signedRecord]
}

// signedRecord is a record as it is passed on.
type signedRecord struct {
	raw []byte // nil for none
	seq uint64
}

func newBook(h host.Host) *book {
	return &book{host: h, records: newLRU[signedRecord](maxBook)}
}

// follow takes in one event of the host.
func (b *book) follow(ev any) {
	switch ev := ev.(type) {
	case event.EvtPeerIdentificationCompleted:
		// An event that was under way while the peer left must not leave a
		// record behind: of what comes later, the departure is told next.
		if b.host.Network().Connectedness(ev.Peer) == network.NotConnected {
			return
		}
		if r := sharable(ev.Peer, ev.SignedPeerRecord); r.raw != nil {
			b.records.Add(ev.Peer, r)
		}
	case event.EvtPeerConnectednessChanged:
		if ev.Connectedness == network.NotConnected {
			b.records.Remove(ev.Peer)
		}
	}
}

// get returns the newest signed record of a connected peer, nil when there is none.
// What sessions tell is in the host's book: a peer may have moved since identify.
func (b *book) get(p peer.ID) []byte {
	newest, _ := b.records.Get(p)
	if certified, ok := peerstore.GetCertifiedAddrBook(b.host.Peerstore()); ok {
		if r := sharable(p, certified.GetPeerRecord(p)); r.raw != nil && r.seq >= newest.seq {
			newest = r
		}
	}
	return newest.raw
}

// sharable returns a record that every receiver will accept, none when env is no
// such thing or names no address.
func sharable(p peer.ID, env *record.Envelope) signedRecord {
	if env == nil {
		return signedRecord{}
	}
	raw, err := env.Marshal()
	if err != nil {
		return signedRecord{}
	}
	rec, err := parseRecord(raw)
	if err != nil || rec.PeerID != p || len(rec.Addrs) == 0 {
		return signedRecord{}
	}
	return signedRecord{raw, rec.Seq}
}
