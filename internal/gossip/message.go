package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

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

	raw *raw
}

// raw is the message in the form in which it can be sent on.
type raw struct {
	msg     *pubsub.Message
	relayed atomic.Bool
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
	h := sha256.New()
	var head [len(idTag) + binary.MaxVarintLen64 + 128]byte
	b := append(head[:0], idTag...)
	b = binary.AppendUvarint(b, uint64(len(topic)))
	b = append(b, topic...)
	h.Write(b)
	h.Write(data)
	var sum [sha256.Size]byte
	return string(h.Sum(sum[:0])[:idLen])
}

// AuthorID is libp2p's default message ID: author and sequence number.
func AuthorID(_ string, _ []byte, from peer.ID, seqno []byte) string {
	return string(from) + string(seqno)
}

func (t *topic) id() pubsub.MsgIdFunction { return pubsubID(t.MessageID, t.stamps) }

// pubsubID adapts an idFunc, for topics whose data may carry a time stamp.
func pubsubID(f idFunc, stamps bool) pubsub.MsgIdFunction {
	return func(m *pb.Message) string {
		data := m.GetData()
		if stamps {
			data = unstamped(data)
		}
		return f(m.GetTopic(), data, peer.ID(m.GetFrom()), m.GetSeqno())
	}
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

// sumOf tells two messages under one ID apart: the one whose signature was
// checked, and a forged one.
func sumOf(m *pubsub.Message) (sum [32]byte) {
	h := sha256.New()
	for _, b := range [][]byte{m.Message.From, m.Seqno, m.Signature, m.Key, m.Data} {
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	h.Sum(sum[:0])
	return sum
}
