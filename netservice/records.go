package netservice

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
)

// ownRecord tells the peers of this node's signed address record as it changes.
// Sessions carry it, because identify gives up on a node with many protocols.
type ownRecord struct {
	sub  event.Subscription
	done chan struct{}
}

// tellRecord begins to tell. It owns one goroutine, until close.
func (n *Node) tellRecord() (*ownRecord, error) {
	sub, err := n.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	o := &ownRecord{sub: sub, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for ev := range sub.Out() { // the latest first, then each change; closed by close
			env := ev.(event.EvtLocalAddressesUpdated).SignedPeerRecord
			if env == nil {
				continue // a host of the program's own that signs none
			}
			if raw, err := env.Marshal(); err == nil {
				n.engine.SetRecord(raw)
			}
		}
	}()
	return o, nil
}

func (o *ownRecord) close() error {
	err := o.sub.Close()
	<-o.done
	return err
}

// maxRecordAddrs bounds the addresses of a peer's record. What a record unpacks to
// is many times its size.
const maxRecordAddrs = 64

var errRecord = errors.New("record is not the peer's own")

// takeRecord puts the record that a peer told of itself where discovery looks for
// it. The error means that no honest peer sends it.
func (n *Node) takeRecord(p peer.ID, raw []byte) error {
	var rec peer.PeerRecord
	env, err := record.ConsumeTypedEnvelope(raw, &rec)
	switch {
	case err != nil:
		return err
	case rec.PeerID != p || !p.MatchesPublicKey(env.PublicKey) || string(env.PayloadType) != string(rec.Codec()):
		return errRecord
	case len(rec.Addrs) > maxRecordAddrs:
		return fmt.Errorf("record has %d addresses, at most %d are allowed", len(rec.Addrs), maxRecordAddrs)
	}
	if book, ok := peerstore.GetCertifiedAddrBook(n.host.Peerstore()); ok {
		// Not as those of a connected peer: it may just have left, and nobody
		// would take them away again. It fails when the book is full.
		_, _ = book.ConsumePeerRecord(env, peerstore.RecentlyConnectedAddrTTL)
		n.exchange.Renewed(p)
		n.repunch.changed(p)
	}
	return nil
}
