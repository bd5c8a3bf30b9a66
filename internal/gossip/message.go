package gossip

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Message is one message as it came from a peer.
type Message struct {
	ID    string  // raw bytes
	Type  string  // as declared
	Topic string  // full name
	From  peer.ID // the peer that sent it to this node
	// Author is who signed it; empty in unsigned networks.
	Author peer.ID
	// Data is shared: neither the validator nor the receiver may change it.
	Data []byte

	raw *router.Message // in the form in which it can be sent on
}

// idFunc is the form of Config.MessageID.
type idFunc = func(topic string, data []byte, from peer.ID, seqno []byte) string

const (
	idTag = "nebnet/gossip/1"
	idLen = 20
)

// ContentID is the message ID of unsigned networks: it depends on the topic's
// name and the data alone.
func ContentID(topic string, data []byte, _ peer.ID, _ []byte) string {
	var b [idLen]byte
	return string(appendContentID(b[:0], topic, data))
}

func appendContentID(b []byte, topic string, data []byte) []byte {
	h := sha256.New()
	var head [len(idTag) + binary.MaxVarintLen64 + 128]byte
	tag := append(head[:0], idTag...)
	tag = binary.AppendUvarint(tag, uint64(len(topic)))
	tag = append(tag, topic...)
	h.Write(tag)
	h.Write(data)
	var sum [sha256.Size]byte
	return append(b, h.Sum(sum[:0])[:idLen]...)
}

// AuthorID is libp2p's default message ID: author and sequence number.
func AuthorID(_ string, _ []byte, from peer.ID, seqno []byte) string {
	return string(from) + string(seqno)
}

// idOf appends a message's ID to b. It is that of the data without its time stamp.
func (e *Engine) idOf(b []byte, t *topic, m *rpc.Message) []byte {
	data := m.Data
	if t.stamps {
		data = unstamped(data)
	}
	switch {
	case e.cfg.MessageID != nil:
		return append(b, e.cfg.MessageID(t.Name, data, peer.ID(m.From), m.Seqno)...)
	case e.cfg.Identity == Signed:
		return append(append(b, m.From...), m.Seqno...)
	}
	return appendContentID(b, t.Name, data)
}

// guardID makes a function of the program safe to be called by the router. A
// message whose name cannot be had is named by its content.
func (e *Engine) guardID(f idFunc) idFunc {
	if f == nil {
		return nil
	}
	return func(topic string, data []byte, from peer.ID, seqno []byte) (id string) {
		defer func() {
			if r := recover(); r != nil {
				id = ContentID(topic, data, "", nil)
				e.panicked("MessageID", r, e.cfg.Obs.Counter(obs.GossipPanics))
			}
		}()
		return f(topic, data, from, seqno)
	}
}
