package netservice

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
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

// takeRecord hands the record that a peer told of itself to discovery, and to those parts
// of libp2p that dial. The error means that no honest peer sends it.
func (n *Node) takeRecord(p peer.ID, raw []byte) error {
	env, err := n.exchange.Told(p, raw)
	if err != nil {
		return err
	}
	if book, ok := peerstore.GetCertifiedAddrBook(n.host.Peerstore()); ok {
		// Not as those of a connected peer: it may just have left, and nobody
		// would take them away again. It fails when the book is full.
		took, err := book.ConsumePeerRecord(env, peerstore.RecentlyConnectedAddrTTL)
		if !took && err == nil {
			// The peer was here before with a greater number, of a clock that was
			// ahead. What it says now is what counts.
			n.host.Peerstore().ClearAddrs(p)
			_, _ = book.ConsumePeerRecord(env, peerstore.RecentlyConnectedAddrTTL)
		}
		n.repunch.changed(p)
	}
	return nil
}
