package interop

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

const (
	network = "0011223344556677"
	topic   = "interop-topic"
)

// sizes of payloads. The largest fits into the 1 MiB frame that everybody
// accepts; exactly 1 MiB needs limits raised on both sides.
var sizes = []int{0, 1, 100, 1 << 10, 64 << 10, gossip.FrameOfOthers}

func payload(size int, salt byte) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)*7 + salt
	}
	return b
}

// engine starts an engine that has joined the topic of others; got receives
// what it delivers.
func engine(t *testing.T, id gossip.Identity, size int) (h host.Host, e *gossip.Engine, got chan []byte) {
	t.Helper()
	h = testkit.Host(t)
	got = make(chan []byte, 100)
	return h, joined(t, gossip.Config{
		Host: h, Network: network, Identity: id, MaxMessageSize: size,
		Deliver: func(_ context.Context, m gossip.Message, _ bool) error {
			got <- m.Data
			return nil
		},
	}), got
}

// joined starts an engine that takes part in the topic of others.
func joined(t *testing.T, cfg gossip.Config) *gossip.Engine {
	t.Helper()
	e, err := gossip.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, err := range []error{
		e.Start(), e.Set(msgtype.Spec{Name: "foreign", Broadcast: msgtype.Broadcast{Topic: topic, Open: true}}, true, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// plain starts go-libp2p-pubsub as its documentation shows, speaking only
// protocols; all if there are none.
func plain(t *testing.T, id gossip.Identity, protocols []protocol.ID, opts ...pubsub.Option) (h host.Host, top *pubsub.Topic, got chan []byte) {
	t.Helper()
	h = testkit.Host(t)
	if id == gossip.Unsigned {
		opts = append(opts,
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(func(m *pb.Message) string {
				return gossip.ContentID(m.GetTopic(), m.GetData(), "", nil)
			}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var (
		ps  *pubsub.PubSub
		err error
	)
	switch {
	case len(protocols) == 1 && protocols[0] == pubsub.FloodSubID:
		ps, err = pubsub.NewFloodSub(ctx, h, opts...)
	case len(protocols) > 0:
		opts = append(opts, pubsub.WithGossipSubProtocols(protocols, pubsub.GossipSubDefaultFeatures))
		fallthrough
	default:
		ps, err = pubsub.NewGossipSub(ctx, h, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if top, err = ps.Join(topic); err != nil {
		t.Fatal(err)
	}
	sub, err := top.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan []byte, 100)
	go func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if m.ReceivedFrom != h.ID() {
				got <- m.Data
			}
		}
	}()
	return h, top, got
}

// want waits for data. Further copies would arrive before the next payload, and
// be taken for it.
func want(t *testing.T, where string, got chan []byte, data []byte) {
	t.Helper()
	b := testkit.Receive(t, got, fmt.Sprintf("%s: %d bytes", where, len(data)))
	if sha256.Sum256(b) != sha256.Sum256(data) {
		t.Fatalf("%s: want %d bytes, have %d others", where, len(data), len(b))
	}
}

func identityName(id gossip.Identity) string {
	if id == gossip.Signed {
		return "signed"
	}
	return "unsigned"
}

func TestPlainPubSub(t *testing.T) {
	protocols := map[string][]protocol.ID{
		"all":      nil,
		"dials":    nil,
		"meshsub3": {pubsub.GossipSubID_v13},
		"meshsub2": {pubsub.GossipSubID_v12},
		"meshsub1": {pubsub.GossipSubID_v11},
		"meshsub0": {pubsub.GossipSubID_v10},
		"floodsub": {pubsub.FloodSubID},
	}
	for name, ids := range protocols {
		for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
			t.Run(fmt.Sprint(name, "/", identityName(id)), func(t *testing.T) {
				t.Parallel()
				eh, e, egot := engine(t, id, 0)
				ph, top, pgot := plain(t, id, ids)
				if name == "dials" {
					testkit.Connect(t, ph, eh)
				} else {
					testkit.Connect(t, eh, ph)
				}
				exchange(t, e, egot, top, pgot, sizes)
				if len(ids) == 1 {
					if p := e.Stats().Peers[ph.ID()].Protocol; p != string(ids[0]) {
						t.Errorf("spoke %s", p)
					}
				}
			})
		}
	}
}

// A payload of exactly 1 MiB is above the frame that others accept by default.
func TestPlainPubSubOneMiB(t *testing.T) {
	for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
		t.Run(identityName(id), func(t *testing.T) {
			eh, e, egot := engine(t, id, 1<<20)
			ph, top, pgot := plain(t, id, nil, pubsub.WithMaxMessageSize(1<<20+1<<10))
			testkit.Connect(t, ph, eh)
			exchange(t, e, egot, top, pgot, []int{1 << 20})
		})
	}
}

// exchange sends one payload of each size both ways.
func exchange(t *testing.T, e *gossip.Engine, egot chan []byte, top *pubsub.Topic, pgot chan []byte, sizes []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, size := range sizes {
		if err := e.Publish(ctx, "foreign", payload(size, byte(i))); err != nil {
			t.Fatal(err)
		}
		want(t, "from the engine", pgot, payload(size, byte(i)))
		data := payload(size, byte(100+i))
		if size == 0 && e.Stats().Types["foreign"].Published > 0 {
			// An unsigned empty message would be a duplicate of the engine's.
			data = []byte{byte(i)}
		}
		// Without the option, the plain side loses what it publishes before its
		// mesh has formed.
		if err := top.Publish(ctx, data, pubsub.WithReadiness(pubsub.MinTopicSize(1))); err != nil {
			t.Fatal(err)
		}
		want(t, "to the engine", egot, data)
	}
}
