package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// author signs this node's own messages.
type author struct {
	id    peer.ID
	from  []byte // id, as messages carry it
	key   crypto.PrivKey
	pub   []byte // encoded public key; nil if the ID holds it
	seqno atomic.Uint64
}

func newAuthor(h host.Host) (*author, error) {
	a := &author{id: h.ID(), key: h.Peerstore().PrivKey(h.ID())}
	a.from = []byte(a.id)
	if a.key == nil {
		return nil, &setting.Error{Field: "Host", Err: errors.New("has no private key, which signing needs")}
	}
	if _, err := a.id.ExtractPublicKey(); err != nil {
		if a.pub, err = crypto.MarshalPublicKey(a.key.GetPublic()); err != nil {
			return nil, fmt.Errorf("encode the public key: %w", err)
		}
	}
	// It goes on after a restart: some networks ignore what does not increase.
	a.seqno.Store(uint64(now().UnixNano()))
	return a, nil
}

func (a *author) sign(m *rpc.Message) (err error) {
	m.From = a.from
	m.Seqno = binary.BigEndian.AppendUint64(nil, a.seqno.Add(1))
	buf := batches.Get().(*[]byte)
	b := rpc.AppendSigned((*buf)[:0], m)
	m.Signature, err = a.key.Sign(b)
	putBatch(buf, b)
	m.Key = a.pub
	return err
}

// wellFormed reports whether a message has the fields that the network's rule of
// signatures asks for, and no others.
func (e *Engine) wellFormed(m *rpc.Message) bool {
	if e.cfg.Identity == Unsigned {
		return m.From == nil && m.Seqno == nil && m.Signature == nil && m.Key == nil
	}
	return len(m.From) > 0 && len(m.Seqno) > 0 && len(m.Signature) > 0
}
