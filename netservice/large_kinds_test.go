package netservice_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

const largeSize = 1 << 20

// largeLine is a line of services that take a type.
func largeLine(t *testing.T, nw *nettest.Network, typ *netservice.Type[[]byte], nodes int, set func(cfg *netservice.Config), opts ...netservice.Option) (line []*nettest.Node, in []chan netservice.Received[[]byte]) {
	for i := range nodes {
		cfg := chain()
		cfg.NoPeerExchange = true
		if set != nil {
			set(&cfg)
		}
		if i > 0 {
			cfg.Bootstrap = []string{line[i-1].Addr()}
		}
		n := nw.Add(cfg, append([]netservice.Option{quiet()}, opts...)...)
		ch := make(chan netservice.Received[[]byte], 5)
		if _, err := typ.Subscribe(n.Service(), func(_ context.Context, m netservice.Received[[]byte]) { ch <- m }); err != nil {
			t.Fatal(err)
		}
		h := netservice.SignedHeaders(largeKey(t, i), func(peer.ID) bool { return true })
		if err := n.Service().SetHeaders(typ.Name(), h); err != nil {
			t.Fatal(err)
		}
		line, in = append(line, n), append(in, ch)
	}
	nw.Start()
	for i, n := range line {
		n.WaitForPeers(min(i, 1) + min(nodes-1-i, 1))
	}
	time.Sleep(5 * time.Second)
	return line, in
}

func lossless(name string, opts ...netservice.TypeOption) *netservice.Type[[]byte] {
	return netservice.Declare(name, netservice.Raw(), append(opts, netservice.MaxSize(4<<20),
		netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))...)
}

// bySwarm tells how many messages of a type a node has fetched in chunks.
func bySwarm(n *nettest.Node, typ string) int64 {
	return n.Service().Stats().Large.Types[typ].Fetched
}

// TestLargeExplicitRelay: a large message of a type that is relayed explicitly goes no
// further than the application lets it, though its header was accepted.
func TestLargeExplicitRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		typ := lossless("slow", netservice.WithGossip(netservice.GossipSpec{ExplicitRelay: true}))
		line, in := largeLine(t, nw, typ, 3, nil)
		if err := typ.Broadcast(t.Context(), line[0].Service(), block(1, largeSize)); err != nil {
			t.Fatal(err)
		}
		m := next(t, "message", in[1])
		none(t, "message that was not relayed", in[2], 10*time.Second)
		if c := line[2].Service().Stats().Large.Types["slow"]; c.Announced != 0 || c.BytesIn != 0 {
			t.Errorf("the second hop was told of it: %+v", c)
		}
		for range 2 { // the second relay does nothing
			if err := typ.Relay(t.Context(), line[1].Service(), m); err != nil {
				t.Fatal(err)
			}
		}
		if got := next(t, "relayed message", in[2]); got.From != line[1].ID() || len(got.Value) != largeSize {
			t.Errorf("%d bytes from %s", len(got.Value), got.From)
		}
		none(t, "echo", in[0], 5*time.Second)
		none(t, "second copy", in[2], 5*time.Second)
		if bySwarm(line[1], "slow") != 1 || bySwarm(line[2], "slow") != 1 {
			t.Error("it did not come in chunks")
		}
	})
}

// TestLargeTimed: the time to delivery of large messages is measured.
func TestLargeTimed(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		typ := lossless("timed", netservice.WithGossip(netservice.GossipSpec{Timed: true}))
		line, in := largeLine(t, nw, typ, 3, nil)
		nw.SetBandwidth(line[0], nettest.Bandwidth{Up: 8 << 20}) // a second for 1 MiB
		began := time.Now()
		if err := typ.Broadcast(t.Context(), line[0].Service(), block(1, largeSize)); err != nil {
			t.Fatal(err)
		}
		next(t, "message", in[2])
		took := time.Since(began)
		synctest.Wait() // it is measured when it has been handed over
		d := line[2].Service().Stats().Gossip.Types["timed"].Delay
		if d.Count != 1 || d.Max < time.Second || d.Max > took {
			t.Errorf("measured %+v, took %s", d, took)
		}
		if bySwarm(line[2], "timed") != 1 {
			t.Error("it did not come in chunks")
		}
	})
}

// TestLargeSigned: large messages name their author, hops away, and whoever signs nothing
// has no author.
func TestLargeSigned(t *testing.T) {
	for _, sign := range []bool{true, false} {
		inBubble(t, func(t *testing.T, nw *nettest.Network) {
			typ := lossless("signed")
			line, in := largeLine(t, nw, typ, 3, func(cfg *netservice.Config) { cfg.SignMessages = sign })
			if err := typ.Broadcast(t.Context(), line[0].Service(), block(1, largeSize)); err != nil {
				t.Fatal(err)
			}
			m := next(t, "message", in[2])
			want := ""
			if sign {
				want = line[0].ID().String()
			}
			if m.Author != want || m.From != line[1].ID() {
				t.Errorf("author %q, want %q; from %s", m.Author, want, m.From)
			}
			if bySwarm(line[2], "signed") != 1 {
				t.Error("it did not come in chunks")
			}
		})
	}
}

// TestLargeMessageID: the program's names count for large messages, too.
func TestLargeMessageID(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		first := func(_ string, data []byte, _ peer.ID, _ []byte) string { return string(data[:1]) }
		typ := lossless("named")
		line, in := largeLine(t, nw, typ, 3, nil, netservice.WithMessageID(first))
		say := func(node int, number byte, fill byte) error {
			b := block(number, largeSize)
			b[1] = fill
			return typ.Broadcast(t.Context(), line[node].Service(), b)
		}
		if err := say(0, 1, 1); err != nil {
			t.Fatal(err)
		}
		next(t, "message", in[1])
		next(t, "message", in[2])
		// Other bytes of the same name: the author's node knows it, and so do all others.
		for node := range line {
			if err := say(node, 1, 2); !errors.Is(err, netservice.ErrDuplicate) {
				t.Errorf("node %d, a message of the same name: %v", node, err)
			}
		}
		if err := say(2, 2, 1); err != nil {
			t.Fatal(err)
		}
		if m := next(t, "message", in[0]); m.Value[0] != 2 {
			t.Errorf("got %d", m.Value[0])
		}
		next(t, "message", in[1])
		none(t, "second message of a name", in[1], 5*time.Second)
		none(t, "second message of a name", in[2], time.Second)
	})
}

// TestLargeNameTwice: of two large messages of one name that set out from both ends of a
// line at once, each node takes one.
func TestLargeNameTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		first := func(_ string, data []byte, _ peer.ID, _ []byte) string { return string(data[:1]) }
		typ := lossless("named")
		line, in := largeLine(t, nw, typ, 3, nil, netservice.WithMessageID(first))
		for k, node := range []int{0, 2} {
			b := block(1, largeSize)
			b[1] = byte(k)
			if err := typ.Broadcast(t.Context(), line[node].Service(), b); err != nil {
				t.Fatal(err)
			}
		}
		next(t, "message", in[1])
		for i := range line {
			none(t, "second message of a name", in[i], 10*time.Second)
		}
		for i, n := range line {
			if st := n.Service().Stats(); st.Gossip.Types["named"].Rejected != 0 {
				t.Errorf("node %d has rejected %d", i, st.Gossip.Types["named"].Rejected)
			}
		}
	})
}
