package gossip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"
)

// rawPeer speaks GossipSub's frames by hand.
type rawPeer struct {
	t   testing.TB
	h   host.Host
	out network.Stream

	mu   sync.Mutex // guards seen
	seen []*pb.RPC
}

// raw connects a raw peer to n.
func (w *world) raw(n *node) *rawPeer {
	w.t.Helper()
	r := &rawPeer{t: w.t, h: w.host()}
	r.h.SetStreamHandler(pubsub.GossipSubID_v12, r.read)
	w.connect(r.h, n.h)
	r.open(n)
	settle()
	return r
}

// open opens a stream to n and subscribes.
func (r *rawPeer) open(n *node) {
	r.t.Helper()
	s, err := r.h.NewStream(r.t.Context(), n.h.ID(), pubsub.GossipSubID_v12)
	must(r.t, err)
	r.out = s
	r.send(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: new(reachTopic)}}})
}

func (r *rawPeer) read(s network.Stream) {
	br := bufio.NewReader(s)
	for {
		n, err := binary.ReadUvarint(br)
		if err != nil {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(br, b); err != nil {
			return
		}
		rpc := new(pb.RPC)
		if err := proto.Unmarshal(b, rpc); err != nil {
			r.t.Error(err)
			return
		}
		r.mu.Lock()
		r.seen = append(r.seen, rpc)
		r.mu.Unlock()
	}
}

func (r *rawPeer) send(rpc *pb.RPC) {
	r.t.Helper()
	b, err := proto.Marshal(rpc)
	must(r.t, err)
	if _, err := r.out.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...)); err != nil && !errors.Is(err, network.ErrReset) {
		r.t.Fatal(err)
	}
}

func (r *rawPeer) control(c *pb.ControlMessage) { r.send(&pb.RPC{Control: c}) }

func (r *rawPeer) say(data string) {
	r.send(&pb.RPC{Publish: []*pb.Message{{Data: []byte(data), Topic: new(reachTopic)}}})
}

func (r *rawPeer) graft(topic string) {
	r.control(&pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: &topic}}})
}

// drain returns what came since the last call.
func (r *rawPeer) drain() []*pb.RPC {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.seen
	r.seen = nil
	return out
}

func (r *rawPeer) score(n *node) float64 { return n.e.Stats().Peers[r.h.ID()].Score }
