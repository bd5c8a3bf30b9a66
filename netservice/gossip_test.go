package netservice_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// ring adds n nodes that know their predecessor only, each with an inbox, and
// starts them without peer exchange.
func ring(t *testing.T, nw *nettest.Network, n int) (nodes []*nettest.Node, in []<-chan netservice.Received[[]byte]) {
	t.Helper()
	for i := range n {
		cfg := chain()
		cfg.NoPeerExchange = true
		if i > 0 {
			cfg.Bootstrap = []string{nodes[i-1].Addr()}
		}
		nodes = append(nodes, nw.Add(cfg, quiet()))
		in = append(in, inbox(t, nodes[i].Service(), 1000))
	}
	nw.Start()
	for i, node := range nodes {
		node.WaitForPeers(min(2, 1+i, n-i))
	}
	if err := nodes[n-1].Service().ConnectPeer(t.Context(), nodes[0].Addr()); err != nil {
		t.Fatal(err)
	}
	return nodes, in
}

// Every node of a ring gets every broadcast exactly once, whoever sends it, and
// the sender none.
func TestBroadcastReachesAllOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		nodes, in := ring(t, nw, 10)
		time.Sleep(5 * time.Second) // a mesh forms
		const each = 20
		for i := range each {
			for j, n := range nodes {
				if err := text.Broadcast(t.Context(), n.Service(), fmt.Appendf(nil, "%d from %d", i, j)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		for j, ch := range in {
			seen := map[string]int{}
			for range len(ch) {
				seen[string((<-ch).Value)]++
			}
			for i := range each {
				for k := range nodes {
					want := 1
					if k == j {
						want = 0
					}
					if got := seen[fmt.Sprintf("%d from %d", i, k)]; got != want {
						t.Fatalf("node %d got message %d of %d %d times, want %d", j, i, k, got, want)
					}
				}
			}
			st := nodes[j].Service().Stats().Gossip.Types["text"]
			if st.Published != each || st.Delivered != each*int64(len(nodes)-1) || st.Mesh != 2 {
				t.Errorf("node %d: %+v", j, st)
			}
		}
	})
}

// The same content twice is said to be a duplicate, and does not travel again.
func TestBroadcastTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		nodes, in := ring(t, nw, 3)
		if err := text.Broadcast(t.Context(), nodes[0].Service(), []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if err := text.Broadcast(t.Context(), nodes[0].Service(), []byte("hi")); !errors.Is(err, netservice.ErrDuplicate) {
			t.Errorf("second time: %v", err)
		}
		next(t, "message", in[1])
		none(t, "second copy", in[1], 5*time.Second)
	})
}

// What is broadcast before there is any peer reaches the first one.
func TestBroadcastBeforeFirstPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 1)
		a.Start()
		if err := text.Broadcast(t.Context(), a.Service(), []byte("early")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		b.Start()
		if m := next(t, "message", in); string(m.Value) != "early" {
			t.Errorf("got %q", m.Value)
		}
	})
}

// A message of a type that is relayed explicitly goes no further than the
// application lets it.
func TestExplicitRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		slow := netservice.Declare("slow", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{ExplicitRelay: true}))
		var nodes []*nettest.Node
		var in []chan netservice.Received[[]byte]
		for i := range 3 { // a line
			cfg := chain()
			cfg.NoPeerExchange = true
			if i > 0 {
				cfg.Bootstrap = []string{nodes[i-1].Addr()}
			}
			n := nw.Add(cfg, quiet())
			ch := make(chan netservice.Received[[]byte], 5)
			if _, err := slow.Subscribe(n.Service(), func(_ context.Context, m netservice.Received[[]byte]) { ch <- m }); err != nil {
				t.Fatal(err)
			}
			nodes, in = append(nodes, n), append(in, ch)
		}
		nw.Start()
		nodes[1].WaitForPeers(2)
		time.Sleep(5 * time.Second)
		if err := slow.Broadcast(t.Context(), nodes[0].Service(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		m := next(t, "message", in[1])
		none(t, "message that was not relayed", in[2], 10*time.Second)
		for range 2 { // the second relay does nothing
			if err := slow.Relay(t.Context(), nodes[1].Service(), m); err != nil {
				t.Fatal(err)
			}
		}
		if got := next(t, "relayed message", in[2]); got.From != nodes[1].ID() {
			t.Errorf("from %s", got.From)
		}
		none(t, "echo", in[0], 5*time.Second)
		none(t, "second copy", in[2], 5*time.Second)
	})
}

// Relay of a message that one peer sent to this node alone spreads it.
func TestRelayOfDirectMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		nodes, in := ring(t, nw, 4)
		time.Sleep(5 * time.Second)
		if err := text.Send(t.Context(), nodes[0].Service(), nodes[1].ID(), []byte("psst")); err != nil {
			t.Fatal(err)
		}
		m := next(t, "message", in[1])
		if err := text.Relay(t.Context(), nodes[1].Service(), m); err != nil {
			t.Fatal(err)
		}
		next(t, "relayed message", in[2])
		next(t, "relayed message", in[3])
	})
}

// Verdicts: what is rejected goes no further and costs the sender its place,
// what is ignored goes no further and costs nothing, what is deferred comes
// when it is resumed.
func TestValidator(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		nodes, in := ring(t, nw, 3)
		// The third node does not pass on what is bad: it would be blamed for it.
		if err := text.Validate(nodes[2].Service(), func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
			if bytes.HasPrefix(m.Value, []byte("bad")) {
				return netservice.Ignore()
			}
			return netservice.Accept()
		}); err != nil {
			t.Fatal(err)
		}
		// The first one says that it judges: it is banned for what it sends all the same.
		if err := text.Validate(nodes[0].Service(), func(context.Context, netservice.Received[[]byte]) netservice.Verdict {
			return netservice.Accept()
		}); err != nil {
			t.Fatal(err)
		}
		v := nodes[1].Service()
		err := text.Validate(v, func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
			switch {
			case bytes.HasPrefix(m.Value, []byte("bad")):
				return netservice.Reject()
			case string(m.Value) == "dull":
				return netservice.Ignore()
			case string(m.Value) == "panic":
				panic("validator")
			case string(m.Value) == "child":
				if v.Stats().Gossip.Types["text"].Deferred == 0 {
					return netservice.Defer("parent")
				}
			}
			return netservice.Accept()
		})
		if err != nil {
			t.Fatal(err)
		}
		banned := v.SubscribePeers(netservice.PeerBanned)
		time.Sleep(5 * time.Second)
		say := func(s string) {
			t.Helper()
			if err := text.Broadcast(t.Context(), nodes[0].Service(), []byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []string{"dull", "panic", "child"} {
			say(s)
		}
		none(t, "message", in[1], 5*time.Second)
		st := v.Stats().Gossip.Types["text"]
		if st.Ignored != 2 || st.Deferred != 1 || st.Panics != 1 || st.Rejected != 0 {
			t.Errorf("stats: %+v", st)
		}
		if n := v.Resume("parent"); n != 1 {
			t.Errorf("%d messages were resumed", n)
		}
		if m := next(t, "deferred message", in[1]); string(m.Value) != "child" {
			t.Errorf("got %q", m.Value)
		}
		none(t, "ban", banned.Events(), time.Second)
		for i := range 200 {
			if err := text.Broadcast(t.Context(), nodes[0].Service(), []byte("bad"+strconv.Itoa(i))); err != nil {
				break // banned
			}
			time.Sleep(200 * time.Millisecond)
		}
		if e := event(t, banned, netservice.PeerBanned); e.Peer != nodes[0].ID() {
			t.Errorf("banned %s", e.Peer)
		}
	})
}

// Broadcasts wait for a full lossless subscriber, longer than the gossip window is,
// which is six seconds: none is turned away to be asked for again.
func TestBroadcastsWaitForAFullSubscriber(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.DispatchQueue = 1
		a := nw.Add(chain(), quiet())
		cfg.Bootstrap = []string{a.Addr()}
		b := nw.Add(cfg, quiet())
		strict := netservice.Declare("strict", netservice.Raw(),
			netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)))
		open := make(chan struct{})
		got := map[string]bool{}
		if _, err := strict.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) {
			<-open
			got[string(m.Value)] = true
		}); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		const n = 4
		for i := range n {
			if err := strict.Broadcast(t.Context(), a.Service(), []byte(strconv.Itoa(i))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(9 * time.Second)
		if st := b.Service().Stats().Gossip.Types["strict"]; len(st.Away) != 0 || st.Delivered == n {
			t.Errorf("something was turned away, or nothing had to wait: %+v", st)
		}
		close(open)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(got) != n {
			t.Errorf("%d of %d arrived: %+v", len(got), n, b.Service().Stats().Gossip.Types["strict"])
		}
	})
}

// plainGossip is a host with go-libp2p-pubsub alone, on node i of a network.
func plainGossip(t *testing.T, nw *testnet.Net, i int, opts ...pubsub.Option) (host.Host, *pubsub.PubSub) {
	t.Helper()
	h := nw.Host(t, nw.Node(i))
	ps, err := pubsub.NewGossipSub(t.Context(), h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h, ps
}

// A node joins an open topic of a network of others, whose nodes know nothing
// of this library; a topic that is not open stays closed to them.
func TestForeignTopic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sim := testnet.New(1)
		key, err := sim.Key(sim.Node(0))
		if err != nil {
			t.Fatal(err)
		}
		cfg := chain()
		cfg.Listen = []string{testnet.Multiaddr(sim.Node(0)).String()}
		s, err := netservice.NewNebService(cfg, quiet(), netservice.WithIdentity(key), netservice.WithTransport(sim.Transport(sim.Node(0))))
		if err != nil {
			t.Fatal(err)
		}
		foreign := netservice.Declare("foreign", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Topic: "their-topic", Open: true}))
		got := make(chan string, 5)
		if _, err := foreign.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		own := inbox(t, s, 1)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		defer s.Stop()

		h, ps := plainGossip(t, sim, 1, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.Data) }))
		topic, err := ps.Join("their-topic")
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		closed, err := ps.Join("/" + s.Node().Network() + "/text")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := closed.Subscribe(); err != nil {
			t.Fatal(err)
		}
		if err := h.Connect(t.Context(), *host.InfoFromHost(s.Node().Host())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := foreign.Broadcast(t.Context(), s, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		nx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m, err := sub.Next(nx)
		if err != nil || string(m.Data) != "hello" {
			t.Fatalf("they got %v, %v", m, err)
		}
		if err := topic.Publish(t.Context(), []byte("hello yourself")); err != nil {
			t.Fatal(err)
		}
		if s := next(t, "their message", got); s != "hello yourself" {
			t.Errorf("got %q", s)
		}
		if err := closed.Publish(t.Context(), []byte("intruder")); err != nil {
			t.Fatal(err)
		}
		none(t, "message of a stranger", own, 10*time.Second)
		sub.Cancel()
		synctest.Wait()
	})
}

// What does not decode is not held against the peer that passed a broadcast on.
func TestGarbageBroadcastsBlameNoRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		line := func(by ...*nettest.Node) *nettest.Node {
			c := chain()
			c.NoPeerExchange = true
			for _, b := range by {
				c.Bootstrap = append(c.Bootstrap, b.Addr())
			}
			return nw.Add(c, quiet())
		}
		a := line()
		b := line(a)
		c := line(b)
		numbers := netservice.Declare("numbers", netservice.JSON[int]())
		for _, n := range []*nettest.Node{b, c} {
			_, err := numbers.Subscribe(n.Service(), func(context.Context, netservice.Received[int]) { t.Error("garbage was delivered") })
			if err != nil {
				t.Fatal(err)
			}
		}
		nw.Start()
		c.WaitForPeers(1)
		b.WaitForPeers(2)
		time.Sleep(3 * time.Second)
		const n = 20
		for i := range n {
			if err := a.Service().Broadcast(t.Context(), "numbers", fmt.Appendf(nil, "no number %d", i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := gossipOf(c, "numbers").Delivered; got != n {
			t.Errorf("%d of %d came by gossip", got, n)
		}
		if nb, nc := len(b.Service().Peers()), len(c.Service().Peers()); nb != 2 || nc != 1 {
			t.Errorf("%d of 2 and %d of 1 peers are left", nb, nc)
		}
	})
}
