package netservice_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// gossiper is an attacker that speaks GossipSub's frames by hand.
type gossiper struct {
	*attacker
	out network.Stream

	mu   sync.Mutex // guards seen
	seen []*pb.RPC
}

// gossiper is an attacker that is a peer, with a gossip stream of one protocol each
// way.
func (s *siege) gossiper(id protocol.ID) *gossiper {
	s.t.Helper()
	g := &gossiper{attacker: s.attacker()}
	g.SetStreamHandler(id, g.read)
	g.enlist()
	g.speak(id)
	return g
}

// foreigner is one that never says hello.
func (s *siege) foreigner(id protocol.ID) *gossiper {
	s.t.Helper()
	g := &gossiper{attacker: s.attacker()}
	g.SetStreamHandler(id, g.read)
	if err := g.connect(); err != nil {
		s.t.Fatal(err)
	}
	g.speak(id)
	return g
}

// speak opens the stream on which the gossiper speaks.
func (g *gossiper) speak(id protocol.ID) {
	g.s.t.Helper()
	var err error
	if g.out, err = g.NewStream(g.s.t.Context(), g.s.victim.Node().ID(), id); err == nil {
		_, err = g.out.Write([]byte{0}) // an empty frame: libp2p negotiates with what is written first
	}
	if err != nil {
		g.s.t.Fatal(err)
	}
}

func (g *gossiper) read(st network.Stream) {
	r := bufio.NewReader(st)
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		in := new(pb.RPC)
		if err := proto.Unmarshal(b, in); err != nil {
			g.s.t.Error(err)
			return
		}
		g.mu.Lock()
		g.seen = append(g.seen, in)
		g.mu.Unlock()
	}
}

// heard returns what the victim has said since the last call.
func (g *gossiper) heard() []*pb.RPC {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.seen
	g.seen = nil
	return out
}

// send sends a frame. The victim may have ended the stream before.
func (g *gossiper) send(rpc *pb.RPC) {
	g.s.t.Helper()
	b, err := proto.Marshal(rpc)
	if err != nil {
		g.s.t.Fatal(err)
	}
	g.frame(b)
}

func (g *gossiper) frame(body []byte) {
	g.s.t.Helper()
	if _, err := g.out.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...)); err != nil && !errors.Is(err, network.ErrReset) {
		g.s.t.Fatal(err)
	}
}

// publish sends messages of a type of the victim's in one frame.
func (g *gossiper) publish(msgType string, texts ...string) {
	g.s.t.Helper()
	rpc := &pb.RPC{}
	for _, text := range texts {
		rpc.Publish = append(rpc.Publish, &pb.Message{Data: []byte(text), Topic: new(g.s.topic(msgType))})
	}
	g.send(rpc)
}

func (g *gossiper) score() float64 { return g.s.victim.Stats().Gossip.Peers[g.ID()].Score }

// subscribe takes part in a type of the victim's.
func (g *gossiper) subscribe(topic string) {
	g.s.t.Helper()
	g.send(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: new(true), Topicid: &topic}}})
}

// meshsub is the protocol that a gossiper speaks where nothing else is said.
const meshsub = pubsub.GossipSubID_v12

// topic is the one that a type of the victim's goes by.
func (s *siege) topic(msgType string) string {
	return "/" + s.victim.Node().Network() + "/" + msgType
}

// field is a field of a protobuf message.
func field(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

// bloated has so many bytes in a field that GossipSub does not have.
func bloated(m *pb.Message, n int) *pb.Message {
	if n > 0 {
		m.ProtoReflect().SetUnknown(field(999, make([]byte, n)))
	}
	return m
}

// live is how many bytes are on the heap.
func live() int64 {
	runtime.GC()
	runtime.GC() // what was put into pools goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// numbered is a text that no other number has.
func numbered(i, size int) string {
	b := make([]byte, size)
	copy(b, fmt.Sprintf("number %d ", i))
	return string(b)
}

// stampOf is what a type that is timed has in front of its data, see
// internal/gossip/SPEC.md.
func stampOf(at uint64, data string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0xf5, 'n', 'e', 'b'}, at)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(append(b[4:12:12], data...), crc32.MakeTable(crc32.Castagnoli)))
}

// meshed waits until streams and meshes are there.
func meshed() { time.Sleep(5 * time.Second) }
