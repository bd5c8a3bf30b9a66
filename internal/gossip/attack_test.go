package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// bloat adds bytes to a message that no field has.
func bloat(m *pb.Message, n int) *pb.Message {
	b := protowire.AppendTag(nil, 999, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(b, make([]byte, n)))
	return m
}

// Row 50: a frame of a million empty parts costs its sender the stream and its score,
// and this node next to nothing.
func TestHostileTinyPartsOnAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := w.raw(n)
		heap := heapNow()
		for range 5 {
			parts := bytes.Repeat([]byte{1<<3 | 2, 0}, 500_000)
			body := append(binary.AppendUvarint([]byte{3<<3 | 2}, uint64(len(parts))), parts...)
			_, _ = r.out.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
			settle()
			if _, err := r.out.Write([]byte{0}); err == nil {
				t.Fatal("the stream goes on")
			}
			r.open(n)
		}
		settle()
		if grown := heapNow() - heap; grown > 4<<20 {
			t.Errorf("%d bytes kept", grown)
		}
		if s := r.score(n); s > SmallNetwork().GraylistThreshold {
			t.Errorf("score %v", s)
		}
		if c := n.e.cfg.Obs.Counter(obs.GossipFaults + faultControl).Count(); c != 5 {
			t.Errorf("%d faults", c)
		}
	})
}

// Row 51: peers that send a length and then nothing, or a byte now and then, hold no
// memory, and their streams end.
func TestHostileLengthAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		const peers = 20
		var rs []*rawPeer
		for range peers {
			rs = append(rs, w.raw(n))
		}
		heap := heapNow()
		for _, r := range rs {
			_, _ = r.out.Write(binary.AppendUvarint(nil, 1<<20))
		}
		settle()
		if grown := heapNow() - heap; grown > peers*64<<10 {
			t.Errorf("%d bytes for %d lengths", grown, peers)
		}
		for range 60 { // a byte every 10 s
			time.Sleep(10 * time.Second)
			for _, r := range rs {
				_, _ = r.out.Write([]byte{0})
			}
		}
		for _, r := range rs {
			if _, err := r.out.Write([]byte{0}); err == nil {
				t.Fatal("a frame of 1 MiB may take ten minutes")
			}
		}
	})
}

// Row 52: what a message has of unknown fields is neither kept nor passed on.
func TestHostileUnknownFields(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			var deferring atomic.Bool
			ns := w.nodes(3, func(c *Config, tx *declared) {
				c.Identity, tx.MaxSize = id, 100
				tx.validate = func(context.Context, Message) Verdict {
					if deferring.Load() {
						return Defer("parent")
					}
					return Accept()
				}
			})
			w.connect(ns[0].h, ns[1].h)
			w.connect(ns[1].h, ns[2].h)
			r := w.raw(ns[0])
			was := ns[2].e.Stats().WireIn
			for i := range 10 {
				r.send(&pb.RPC{Publish: []*pb.Message{r.message(t, id, payload(i, 20), 1<<19)}})
			}
			settle()
			got := ns[2].box.total()
			if in := ns[2].e.Stats().WireIn - was; in > 100_000 || id == Unsigned && got != 10 || id == Signed && got != 0 {
				t.Errorf("%s: %d messages and %d bytes two hops away", identityText(id), got, in)
			}
			if s := r.score(ns[0]); s < 0 {
				t.Errorf("%s: who passes them on is blamed: %v", identityText(id), s)
			}
			deferring.Store(true)
			heap := heapNow()
			for i := range 50 {
				r.send(&pb.RPC{Publish: []*pb.Message{r.message(t, Unsigned, payload(100+i, 20), 1<<19)}})
			}
			settle()
			if grown := heapNow() - heap; grown > 4<<20 {
				t.Errorf("%s: %d bytes kept of %d deferred messages", identityText(id), grown, ns[0].e.Stats().Parked)
			}
		})
	}
}

func identityText(id Identity) string {
	if id == Signed {
		return "signed"
	}
	return "unsigned"
}

// message makes a message with so many bytes in an unknown field, signed by the raw
// peer if need be.
func (r *rawPeer) message(t testing.TB, id Identity, data string, unknown int) *pb.Message {
	m := bloat(&pb.Message{Data: []byte(data), Topic: new(reachTopic)}, unknown)
	if id == Signed {
		a, err := newAuthor(r.h)
		must(t, err)
		m.From, m.Seqno = []byte(r.h.ID()), binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
		body, err := proto.Marshal(m)
		must(t, err)
		m.Signature, err = a.key.Sign(append([]byte(pubsub.SignPrefix), body...))
		must(t, err)
	}
	return m
}

// Deferred messages: neither all places of a key nor all bytes fall to one peer.
func TestHostileDeferred(t *testing.T) {
	for name, flood := range map[string]func(r *rawPeer){
		"key": func(r *rawPeer) {
			for i := range 256 {
				r.say(payload(i, 30))
			}
		},
		"bytes": func(r *rawPeer) {
			for i := range 66 {
				r.send(&pb.RPC{Publish: []*pb.Message{{Data: []byte(payload(i, 1<<20-100)), Topic: new(reachTopic)}}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				var have atomic.Bool
				n := w.node(func(_ *Config, tx *declared) {
					tx.validate = func(_ context.Context, m Message) Verdict {
						switch child := strings.HasPrefix(string(m.Data), "child"); {
						case have.Load() && child:
							return Accept()
						case have.Load():
							return Ignore()
						case name == "key" || child:
							return Defer("parent")
						}
						return Defer(string(m.Data[:12]))
					}
				})
				honest := w.node(nil)
				w.connect(honest.h, n.h)
				flood(w.raw(n))
				settle()
				if n.e.Stats().Parked < 60 {
					t.Fatalf("nothing was tested: %+v", n.e.Stats())
				}
				honest.publish(t, "child block"+strings.Repeat("x", 20<<10))
				time.Sleep(15 * time.Second)
				have.Store(true)
				n.e.Resume("parent")
				settle()
				if n.box.total() != 1 {
					t.Errorf("the child of an honest peer was kept out: %+v", n.tx())
				}
			})
		})
	}
}

// A copy with another time stamp that comes first and is turned away keeps nobody
// else's copy out.
func TestHostileForgedStamp(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		timed := func(_ *Config, tx *declared) { tx.Broadcast.Timed = true }
		n, honest := w.node(timed), w.node(timed)
		w.connect(n.h, honest.h)
		r := w.raw(n)
		n.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
		r.say(string(putStamp(time.Unix(1, 0), []byte("block"))))
		settle()
		n.box.setRefuse(nil)
		honest.publish(t, "block")
		settle()
		if n.box.count("block") != 1 {
			t.Errorf("%+v", n.tx())
		}
	})
}

// One peer's flood takes no more than its share of the validators.
func TestHostileFloodOfValidators(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, tx *declared) {
			tx.Broadcast.Concurrency, c.Queue = 8, 64
			tx.validate = func(_ context.Context, m Message) Verdict {
				time.Sleep(50 * time.Millisecond)
				if strings.HasPrefix(string(m.Data), "honest") {
					return Accept()
				}
				return Ignore()
			}
		})
		honest := w.node(nil)
		w.connect(honest.h, n.h)
		r := w.raw(n)
		for i := range 300 {
			rpc := &pb.RPC{}
			for k := range 40 { // 800 a second, and 160 can be validated
				rpc.Publish = append(rpc.Publish, &pb.Message{Data: []byte(payload(i*1000+k, 30)), Topic: new(reachTopic)})
			}
			r.send(rpc)
			if i%3 == 0 {
				honest.publish(t, fmt.Sprint("honest ", i))
			}
			time.Sleep(50 * time.Millisecond)
		}
		settle()
		if got := n.box.total(); got != 100 {
			t.Errorf("%d of an honest 100 arrived: %+v", got, n.tx())
		}
		if s := r.score(n); s >= 0 {
			t.Errorf("a flood that is ignored leaves the score at %v", s)
		}
	})
}

// What is remembered of seen messages is bounded in number.
func TestHostileFloodOfSeen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(func(c *Config, _ *declared) { c.SeenMessages, c.HistoryBytes = 1000, 1<<20 })
		r := w.raw(n)
		for i := range 20 {
			rpc := &pb.RPC{}
			for k := range 1000 {
				rpc.Publish = append(rpc.Publish, &pb.Message{Data: []byte(payload(i*1000+k, 500)), Topic: new(reachTopic)})
			}
			r.send(rpc)
		}
		settle()
		if got := n.box.total(); got != 20_000 {
			t.Fatalf("%d came", got)
		}
		if known := n.e.router.Known([]byte(ContentID(reachTopic, []byte(payload(0, 500)), "", nil))); known {
			t.Error("the oldest is remembered")
		}
	})
}
