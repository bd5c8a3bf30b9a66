package netservice_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"google.golang.org/protobuf/proto"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 50: frames of half a million empty parts, of each kind there is. They are
// counted before anything is made of them: each costs its sender the stream, and
// this node next to nothing; who goes on is banned.
func TestHostileGossipParts(t *testing.T) {
	const size = 1 << 20
	empty := func(num byte, n int) []byte { return bytes.Repeat([]byte{num<<3 | 2, 0}, n/2) }
	for name, frame := range map[string][]byte{
		"announcements":     field(3, empty(1, size-16)),
		"grafts":            field(3, empty(3, size-16)),
		"IDs announced":     field(3, field(1, empty(2, size-16))),
		"IDs asked for":     field(3, field(2, empty(1, size-16))),
		"IDs not wanted":    field(3, field(5, empty(1, size-16))),
		"messages":          empty(2, size),
		"subscriptions":     empty(1, size),
		"unknown in a part": field(3, empty(9, size-16)),
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				g := s.gossiper(meshsub)
				meshed()
				const rounds = 5
				before := allocated()
				for range rounds {
					g.frame(frame)
					if d := hungUp(t, g.out); d > time.Second {
						t.Errorf("the stream ends after %s", d)
					}
					g.speak(meshsub)
				}
				if n := allocated() - before; n > rounds*16<<20 { // the frame itself is there several times
					t.Errorf("%d MiB were allocated", n>>20)
				}
				if n := s.count("neb.net.gossip.faults.control"); n != rounds {
					t.Errorf("%d faults are counted", n)
				}
				s.event(netservice.PeerBanned, g.ID())
				s.mustServe("after")
			})
		})
	}
}

// Row 51: peers that send the length of a frame, and then nothing, or a byte now and
// then. They hold next to no memory, and their streams end; a line may be as slow as
// that, and they stay peers.
func TestHostileGossipLengths(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		const peers = 30
		var open []*gossiper
		for range peers {
			open = append(open, s.gossiper(meshsub))
		}
		meshed()
		before := live()
		for _, g := range open {
			g.out.Write(binary.AppendUvarint(nil, 1<<20))
		}
		time.Sleep(time.Second)
		if n := live() - before; n > 8<<20 {
			t.Errorf("%d lengths of 1 MiB take %d MiB", peers, n>>20)
		}
		silent, slow := open[:peers/2], open[peers/2:]
		var writers sync.WaitGroup
		defer writers.Wait()
		for _, g := range slow {
			writers.Go(func() { testnet.Drip(t.Context(), g.out, make([]byte, 1000), 10*time.Second) })
		}
		begin := time.Now()
		for _, g := range silent {
			hungUp(t, g.out)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("a frame of which nothing comes ends after %s", d)
		}
		for _, g := range slow {
			hungUp(t, g.out)
		}
		if d := time.Since(begin); d < 30*time.Second || d > 5*time.Minute {
			t.Errorf("a frame that comes byte by byte ends after %s", d)
		}
		if n := len(s.victim.Peers()); n != peers {
			t.Errorf("%d are peers", n)
		}
		s.mustServe("after")
	})
}

// Row 52: what a message has of fields that nobody knows is neither passed on nor
// kept, and whoever passed such a message on is not blamed.
func TestHostileGossipUnknownFields(t *testing.T) {
	const bloat, most = 1 << 19, 4 << 20
	for _, signed := range []bool{false, true} {
		t.Run(fmt.Sprintf("signed %v", signed), func(t *testing.T) {
			besiege(t, func(c *netservice.Config) { c.SignMessages = signed }, func(t *testing.T, s *siege) {
				small := netservice.Declare("small", netservice.Raw(), netservice.MaxSize(100))
				var deferring atomic.Bool
				if err := small.Validate(s.victim, func(context.Context, netservice.Received[[]byte]) netservice.Verdict {
					if deferring.Load() {
						return netservice.Defer("parent")
					}
					return netservice.Accept()
				}); err != nil {
					t.Fatal(err)
				}
				if _, err := small.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
					t.Fatal(err)
				}
				friend := s.friend(func(c *netservice.Config) { c.SignMessages = signed })
				got := make(chan struct{}, 100)
				if _, err := small.Subscribe(friend, func(context.Context, netservice.Received[[]byte]) { got <- struct{}{} }); err != nil {
					t.Fatal(err)
				}
				g := s.gossiper(meshsub)
				meshed()
				was := friend.Stats().Gossip.WireIn
				for i := range 10 {
					g.send(&pb.RPC{Publish: []*pb.Message{g.message("small", numbered(i, 20), bloat, signed)}})
				}
				meshed()
				// Its signature covers the field, so that it cannot go on without.
				if want := map[bool]int{false: 10, true: 0}[signed]; len(got) != want {
					t.Errorf("%d messages come to the next node", len(got))
				}
				if n := friend.Stats().Gossip.WireIn - was; n > bloat/4 {
					t.Errorf("%d bytes come to the next node", n)
				}
				if v := g.score(); v < 0 || s.peers(g.ID()) != 1 {
					t.Errorf("who passes it on has %v, and %d sessions", v, s.peers(g.ID()))
				}
				deferring.Store(true)
				before := live()
				for i := range 50 {
					g.send(&pb.RPC{Publish: []*pb.Message{g.message("small", numbered(100+i, 20), bloat, signed)}})
				}
				meshed()
				if n := live() - before; n > most {
					t.Errorf("%d MiB are kept of %d deferred messages", n>>20, s.victim.Stats().Gossip.Parked)
				}
			})
		})
	}
}

// message makes a message with so many bytes in a field that nobody knows.
func (g *gossiper) message(msgType, data string, unknown int, signed bool) *pb.Message {
	m := bloated(&pb.Message{Data: []byte(data), Topic: new(g.s.topic(msgType))}, unknown)
	if !signed {
		return m
	}
	m.From, m.Seqno = []byte(g.ID()), binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	body, err := proto.Marshal(m)
	if err == nil {
		m.Signature, err = g.Peerstore().PrivKey(g.ID()).Sign(append([]byte(pubsub.SignPrefix), body...))
	}
	if err != nil {
		g.s.t.Fatal(err)
	}
	return m
}

// friend is an honest service that is a peer of the victim's and takes text.
func (s *siege) friend(setup func(c *netservice.Config)) *netservice.NebService {
	s.t.Helper()
	cfg := chain()
	if setup != nil {
		setup(&cfg)
	}
	f := s.service(s.address(), cfg)
	if err := f.Start(); err != nil {
		s.t.Fatal(err)
	}
	if err := f.ConnectPeer(s.t.Context(), s.addr()); err != nil {
		s.t.Fatal(err)
	}
	return f
}

// A frame that is longer than any may be ends its stream before anything of it is
// read; a longer message than its type may have is one fault of its sender.
func TestHostileGossipSizes(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		for _, length := range []uint64{1<<20 + 2<<10, 1 << 32, 1<<64 - 1} {
			g := s.gossiper(meshsub)
			g.out.Write(append(binary.AppendUvarint(nil, length), make([]byte, 100)...))
			if d := hungUp(t, g.out); d > time.Second {
				t.Errorf("%d bytes: the stream ends after %s", length, d)
			}
		}
		g := s.gossiper(meshsub)
		meshed()
		g.publish("bait", numbered(0, baitSize), numbered(1, baitSize+1))
		meshed()
		if st := s.victim.Stats().Gossip.Types["bait"]; st.Delivered != 1 || st.Rejected != 1 {
			t.Errorf("%+v", st)
		}
		if v := g.score(); v >= 0 {
			t.Errorf("the sender has %v", v)
		}
	})
}

// Messages whose author is not who they say, in networks with signatures, and with an
// author at all in those without. They go nowhere, do not keep the true message out,
// and who goes on with it is banned.
func TestHostileGossipAuthors(t *testing.T) {
	forge := map[string]func(g *gossiper, m *pb.Message, victimOf *netservice.NebService){
		"another's name": func(_ *gossiper, m *pb.Message, of *netservice.NebService) { m.From = []byte(of.Node().ID()) },
		"no signature":   func(_ *gossiper, m *pb.Message, _ *netservice.NebService) { m.Signature = nil },
		"no author":      func(_ *gossiper, m *pb.Message, _ *netservice.NebService) { m.From = nil },
		"no number":      func(_ *gossiper, m *pb.Message, _ *netservice.NebService) { m.Seqno = nil },
		"other data":     func(_ *gossiper, m *pb.Message, _ *netservice.NebService) { m.Data = append(m.Data, '!') },
		"another's key": func(g *gossiper, m *pb.Message, of *netservice.NebService) {
			key, err := crypto.MarshalPublicKey(g.Peerstore().PubKey(g.ID()))
			if err != nil {
				g.s.t.Fatal(err)
			}
			m.From, m.Key = []byte(of.Node().ID()), key
		},
		"signed where nobody signs": nil,
	}
	for name, forge := range forge {
		t.Run(name, func(t *testing.T) {
			sign := func(c *netservice.Config) { c.SignMessages = forge != nil }
			besiege(t, sign, func(t *testing.T, s *siege) {
				friend := s.friend(sign)
				g := s.gossiper(meshsub)
				meshed()
				for i := range 6 {
					m := g.message("text", numbered(i, 20), 0, true)
					if forge != nil {
						forge(g, m, friend)
					}
					g.send(&pb.RPC{Publish: []*pb.Message{m}})
					time.Sleep(10 * time.Millisecond) // it is what the next one is numbered by
				}
				s.event(netservice.PeerBanned, g.ID())
				if err := text.Broadcast(t.Context(), friend, []byte(numbered(0, 20))); err != nil {
					t.Fatal(err)
				}
				if got := next(t, "text", s.texts); got != numbered(0, 20) {
					t.Errorf("got %q", got)
				}
				none(t, "text", s.texts, 10*time.Second)
			})
		})
	}
}

// One that is no peer takes part in open topics only: nothing that it says in others
// is heard, and it is not told that there are any.
func TestHostileForeigners(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		news := netservice.Declare("news", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Topic: "news", Open: true}))
		got := make(chan string, 8)
		if _, err := news.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		f := s.foreigner(meshsub)
		time.Sleep(12 * time.Second) // then it is known to be one
		f.subscribe(s.topic("text"))
		f.subscribe("news")
		f.send(&pb.RPC{Control: &pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: new(s.topic("text"))}, {TopicID: new("news")}}}})
		meshed()
		f.publish("text", "closed")
		f.send(&pb.RPC{Publish: []*pb.Message{{Data: []byte("open"), Topic: new("news")}}})
		if text := next(t, "news", got); text != "open" {
			t.Errorf("got %q", text)
		}
		s.friend(nil)
		if err := text.Broadcast(t.Context(), s.victim, []byte("for peers")); err != nil {
			t.Fatal(err)
		}
		none(t, "text", s.texts, 10*time.Second)
		for _, rpc := range f.heard() {
			if text := rpc.String(); strings.Contains(text, s.victim.Node().Network()) {
				t.Errorf("it is told %s", text)
			}
		}
	})
}

// Row 52: peers that graft before there is a stream to them, in frames as large as
// can be. What is remembered of it is that they did.
func TestHostileGossipEarlyGrafts(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		const peers = 20
		var all []*gossiper
		for range peers {
			g := &gossiper{attacker: s.attacker()} // serves no gossip protocol
			g.enlist()
			g.speak(meshsub)
			all = append(all, g)
		}
		meshed()
		before := live()
		graft := field(3, field(3, field(1, []byte(s.topic("text")))))
		for _, g := range all {
			g.frame(append(graft, field(999, make([]byte, 1<<20-100))...))
		}
		time.Sleep(10 * time.Minute)
		if n := live() - before; n > 8<<20 {
			t.Errorf("%d MiB are kept of %d early grafts", n>>20, peers)
		}
		if n := s.count("neb.net.gossip.wire.in"); n < peers<<19 {
			t.Fatalf("only %d bytes were read", n)
		}
	})
}

// Row 34: what was seen is remembered in a bounded number, and for a bounded time;
// within both, a replay is a duplicate.
func TestHostileGossipSeen(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		g := s.gossiper(meshsub)
		meshed()
		delivered := func() int64 { return s.victim.Stats().Gossip.Types["bait"].Delivered }
		say := func(texts ...string) {
			g.publish("bait", texts...)
			time.Sleep(100 * time.Millisecond)
		}
		say("first")
		say("first")
		if n := delivered(); n != 1 {
			t.Fatalf("a replay at once is delivered: %d", n)
		}
		const frame, frames = 4000, 34 // more than 131,072
		for i := range frames {
			texts := make([]string, frame)
			for k := range texts {
				texts[k] = fmt.Sprint(i, " ", k)
			}
			say(texts...)
		}
		if n := delivered(); n != 1+frame*frames {
			t.Fatalf("%d of the flood are delivered", n)
		}
		say("first")
		if n := delivered(); n != 2+frame*frames {
			t.Error("what was seen is remembered without a bound of its number")
		}
		say("last")
		time.Sleep(3 * time.Minute)
		was := delivered()
		say("last")
		if n := delivered(); n != was+1 {
			t.Error("what was seen is remembered without a bound of time")
		}
	})
}

// Row 58: deferred messages that name another's key, or are as large as may be. An
// honest child is kept all the same, and delivered when its parent has come.
func TestHostileGossipDeferred(t *testing.T) {
	for name, flood := range map[string]func(g *gossiper){
		"one key": func(g *gossiper) {
			for i := range 256 {
				g.publish("block", "parent "+numbered(i, 30))
			}
		},
		"bytes": func(g *gossiper) {
			for i := range 256 { // as many as one peer may have, 64 MiB but for 8 KiB
				key := fmt.Sprint(i, " ")
				g.publish("block", key+numbered(i, 256<<10-32-len(key)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				block := netservice.Declare("block", netservice.Raw())
				var have atomic.Bool
				if err := block.Validate(s.victim, func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
					key, rest, _ := strings.Cut(string(m.Value), " ")
					switch {
					case !have.Load():
						return netservice.Defer(key)
					case strings.HasPrefix(rest, "child"):
						return netservice.Accept()
					}
					return netservice.Ignore()
				}); err != nil {
					t.Fatal(err)
				}
				got := make(chan string, 8)
				if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value[:12]) }); err != nil {
					t.Fatal(err)
				}
				friend := s.friend(nil)
				g := s.gossiper(meshsub)
				meshed()
				flood(g)
				time.Sleep(time.Second)
				if n := s.victim.Stats().Gossip.Parked; n < 200 {
					t.Fatalf("%d are deferred: nothing is tried", n)
				}
				if err := block.Broadcast(t.Context(), friend, []byte("parent child "+numbered(0, 20<<10))); err != nil {
					t.Fatal(err)
				}
				time.Sleep(15 * time.Second) // longer than its publisher keeps it
				have.Store(true)
				s.victim.Resume("parent")
				if text := next(t, "child", got); text != "parent child" {
					t.Errorf("got %q", text)
				}
			})
		})
	}
}

// Row 57: broadcasts without end that a validator ignores. They take no more than
// their share of it from an honest peer, whose messages all arrive, and cost their
// sender its score.
func TestHostileGossipFlood(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		tx := netservice.Declare("tx", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Concurrency: 8}))
		if err := tx.Validate(s.victim, func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
			time.Sleep(50 * time.Millisecond) // 160 a second
			if strings.HasPrefix(string(m.Value), "honest") {
				return netservice.Accept()
			}
			return netservice.Ignore()
		}); err != nil {
			t.Fatal(err)
		}
		var got atomic.Int64
		if _, err := tx.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) { got.Add(1) }); err != nil {
			t.Fatal(err)
		}
		friend := s.friend(nil)
		g := s.gossiper(meshsub)
		meshed()
		const honest = 100
		for i := range 3 * honest {
			texts := make([]string, 40) // 800 a second
			for k := range texts {
				texts[k] = numbered(1000*i+k, 30)
			}
			g.publish("tx", texts...)
			if i%3 == 0 {
				if err := tx.Broadcast(t.Context(), friend, fmt.Append(nil, "honest ", i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if n := got.Load(); n != honest {
			t.Errorf("%d of an honest %d arrive", n, honest)
		}
		if v := g.score(); v >= 0 {
			t.Errorf("a flood that is ignored leaves the score at %v", v)
		}
		if v := s.victim.Stats().Gossip.Peers[friend.Node().ID()].Score; v < 0 {
			t.Errorf("the honest peer has %v", v)
		}
	})
}

// A message with another time of publication than its publisher gave it, sent before
// the true one arrives. It is taken or left as that content, and the true message
// arrives once in any case.
func TestHostileGossipTimeStamps(t *testing.T) {
	stamped := func(at uint64, sum byte, data string) string {
		b := stampOf(at, data)
		b[15] ^= sum
		return string(b) + data
	}
	for name, forged := range map[string]string{
		"1970":             stamped(0, 0, "block"),
		"the far future":   stamped(1<<62, 0, "block"),
		"no time at all":   stamped(1<<64-1, 0, "block"),
		"a sum that lies":  stamped(0, 1, "block"),
		"none":             "block",
		"nothing but that": stamped(0, 0, ""),
		"twice":            stamped(0, 0, stamped(0, 0, "block")),
	} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, full %v", name, full), func(t *testing.T) {
				besiege(t, nil, func(t *testing.T, s *siege) { forgeStamp(t, s, forged, full) })
			})
		}
	}
}

func forgeStamp(t *testing.T, s *siege, forged string, full bool) {
	const deadline = time.Second
	block := netservice.Declare("block", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Timed: true, Deadline: deadline}))
	var busy atomic.Bool
	busy.Store(full)
	if err := block.Validate(s.victim, func(ctx context.Context, m netservice.Received[[]byte]) netservice.Verdict {
		switch {
		case busy.Load():
			<-ctx.Done() // no verdict: the message is turned away
			return netservice.Ignore()
		case string(m.Value) == "block":
			return netservice.Accept()
		}
		return netservice.Reject()
	}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 8)
	if _, err := block.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
		t.Fatal(err)
	}
	friend := s.friend(nil)
	if _, err := block.Subscribe(friend, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
		t.Fatal(err)
	}
	g := s.gossiper(meshsub)
	meshed()
	g.publish("block", forged)
	time.Sleep(5 * time.Millisecond) // the forged one comes first
	if err := block.Broadcast(t.Context(), friend, []byte("block")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(deadline + 100*time.Millisecond)
	busy.Store(false)
	if text := next(t, "block", got); text != "block" {
		t.Errorf("got %q", text)
	}
	none(t, "block", got, 10*time.Second)
}

// Peers that call themselves old, and are therefore not asked for a mesh, get no more
// copies of a message than a mesh has.
func TestHostileFloodSub(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		var all []*gossiper
		for range 30 {
			g := s.gossiper(pubsub.FloodSubID)
			g.subscribe(s.topic("text"))
			all = append(all, g)
		}
		meshed()
		if err := text.Broadcast(t.Context(), s.victim, make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
		meshed()
		copies := 0
		for _, g := range all {
			for _, rpc := range g.heard() {
				copies += len(rpc.GetPublish())
			}
		}
		if most := netservice.SmallNetwork().Dhi; copies == 0 || copies > most {
			t.Errorf("%d copies were sent", copies)
		}
	})
}

// Row 64: foreign peers on an open topic that name messages otherwise. They are not
// told of what this node has, in the mesh and outside of it: they would ask for it
// and hold it against this node. And they are neither asked for what they announce,
// which this node may know by another name, nor blamed for it.
func TestHostileForeignNames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		news := netservice.Declare("news", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Topic: "news", Open: true}))
		if _, err := news.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		friend := s.friend(nil)
		say := func(what ...any) {
			if err := news.Broadcast(t.Context(), friend, fmt.Append(nil, what...)); err != nil {
				t.Fatal(err)
			}
		}
		var all []*gossiper
		for range 20 { // more than a mesh has
			all = append(all, s.foreigner(meshsub))
		}
		time.Sleep(11 * time.Second) // then it is known what they are
		for i := range 10 {
			say("before they take part ", i)
			time.Sleep(300 * time.Millisecond)
		}
		for _, f := range all {
			f.subscribe("news")
		}
		meshed()
		const messages = 60
		got := make(map[int]int) // how many messages, how many peers
		for i := range messages {
			say(i)
			time.Sleep(5 * time.Second)
			for k, f := range all {
				f.send(&pb.RPC{Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{
					{TopicID: new("news"), MessageIDs: []string{fmt.Sprint("of ", k, ": ", i)}}}}})
			}
		}
		for _, f := range all {
			n := 0
			for _, rpc := range f.heard() {
				n += len(rpc.GetPublish())
				if have, want := rpc.GetControl().GetIhave(), rpc.GetControl().GetIwant(); len(have)+len(want) > 0 {
					t.Fatalf("a foreigner is told %s", rpc)
				}
			}
			got[n]++
			if v := f.score(); v < 0 {
				t.Errorf("a foreigner has %v", v)
			}
		}
		if mesh := got[messages]; mesh < netservice.SmallNetwork().Dlo || len(got) > 2 {
			t.Errorf("messages that came, by peers: %v", got)
		}
	})
}
