package netservice_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// shared is a type of that name on the open topic of others.
func shared(name string, opts ...netservice.TypeOption) *netservice.Type[[]byte] {
	spec := netservice.GossipSpec{Topic: "their-topic", Open: true}
	return netservice.Declare(name, netservice.Raw(), append(opts, netservice.WithGossip(spec))...)
}

// Nodes of two chains, one of which dials the other, share an open topic. They
// have no session, nothing else of theirs passes, and the first message waits
// until it is sure that there will be no session.
func TestOpenTopicBetweenChains(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		news, talk := shared("news"), shared("talk")
		a := nw.Add(netservice.Config{ChainID: "one"}, quiet())
		b := nw.Add(netservice.Config{ChainID: "two", Bootstrap: []string{a.Addr()}}, quiet())
		atA, atB := make(chan []byte, 5), make(chan []byte, 5)
		if _, err := news.Subscribe(a.Service(), func(_ context.Context, m netservice.Received[[]byte]) { atA <- m.Value }); err != nil {
			t.Fatal(err)
		}
		if _, err := talk.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { atB <- m.Value }); err != nil {
			t.Fatal(err)
		}
		closed := inbox(t, a.Service(), 5)
		nw.Start()
		if err := news.Broadcast(t.Context(), a.Service(), []byte("from one")); err != nil {
			t.Fatal(err)
		}
		if err := text.Broadcast(t.Context(), b.Service(), []byte("not for others")); err != nil {
			t.Fatal(err)
		}
		if got := next(t, "message", atB); string(got) != "from one" {
			t.Errorf("got %q", got)
		}
		for i := range 60 { // the connection stays
			msg := fmt.Appendf(nil, "%d from two", i)
			if err := talk.Broadcast(t.Context(), b.Service(), msg); err != nil {
				t.Fatal(err)
			}
			if got := next(t, "message", atA); !bytes.Equal(got, msg) {
				t.Fatalf("got %q", got)
			}
			time.Sleep(10 * time.Second)
		}
		none(t, "message of a closed topic", closed, time.Second)
		if n := len(a.Service().Peers()) + len(b.Service().Peers()); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// Plain go-libp2p-pubsub hosts and a whole service exchange messages of every
// size on an open topic, signed and not, whoever dials.
func TestPlainPubSubHosts(t *testing.T) {
	for _, signed := range []bool{false, true} {
		for _, weDial := range []bool{false, true} {
			t.Run(fmt.Sprintf("signed %v, we dial %v", signed, weDial), func(t *testing.T) {
				bubble(t, func(t *testing.T) { plainHosts(t, signed, weDial) })
			})
		}
	}
}

func plainHosts(t *testing.T, signed, weDial bool) {
	sim := testnet.New(1)
	foreign := shared("foreign", netservice.MaxSize(4<<20))
	cfg := chain()
	cfg.SignMessages = signed
	if weDial {
		cfg.Bootstrap = []string{addrOfNode(t, 1), addrOfNode(t, 2)}
	}
	s := serviceOn(t, sim, 0, cfg)
	got := make(chan netservice.Received[[]byte], 5)
	if _, err := foreign.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { got <- m }); err != nil {
		t.Fatal(err)
	}
	var opts []pubsub.Option
	if !signed {
		opts = append(opts, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(func(m *pb.Message) string {
				sum := sha256.Sum256(m.Data) // another name for a message is no obstacle
				return string(sum[:])
			}))
	}
	var hosts []host.Host
	var topics []*pubsub.Topic
	var subs []*pubsub.Subscription
	for i := range 2 {
		h, ps := plainGossip(t, sim, i+1, opts...)
		topic, err := ps.Join("their-topic")
		if err != nil {
			t.Fatal(err)
		}
		sub, err := topic.Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Cancel()
		hosts, topics, subs = append(hosts, h), append(topics, topic), append(subs, sub)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if !weDial {
			if err := h.Connect(t.Context(), *host.InfoFromHost(s.Node().Host())); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(30 * time.Second)

	hear := func(i int, want []byte) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m, err := subs[i].Next(ctx)
		if err != nil {
			t.Fatalf("host %d: %v", i, err)
		}
		if !bytes.Equal(m.Data, want) {
			t.Fatalf("host %d: want %d bytes, have %d", i, len(want), len(m.Data))
		}
		if from := m.GetFrom(); signed != (from != "") {
			t.Errorf("host %d: author %q", i, from)
		}
	}
	for i, size := range []int{0, 1, 1 << 10, 64 << 10, 1<<20 - 1<<10} {
		ours := bytes.Repeat([]byte{byte(i)}, size)
		if err := foreign.Broadcast(t.Context(), s, ours); err != nil {
			t.Fatal(err)
		}
		hear(0, ours)
		hear(1, ours)
		theirs := bytes.Repeat([]byte{byte(100 + i)}, size)
		if size == 0 && !signed {
			continue // the duplicate of ours
		}
		if err := topics[0].Publish(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		hear(0, theirs) // a plain subscriber hears itself
		hear(1, theirs) // through the service: the hosts do not know each other
		m := next(t, "message", got)
		if !bytes.Equal(m.Value, theirs) || m.From != hosts[0].ID() {
			t.Fatalf("got %d bytes from %s", len(m.Value), m.From)
		}
		if want := hosts[0].ID().String(); signed && m.Author != want || !signed && m.Author != "" {
			t.Errorf("author %q", m.Author)
		}
	}
	st := s.Stats().Gossip.Types["foreign"]
	if st.Rejected+st.Ignored != 0 || len(st.Away) != 0 || st.Published != 5 {
		t.Errorf("%+v", st)
	}
}

// Open types have no streams of their own, however large they are declared. Up to
// 1 MiB is sent to those who ask for it; else what does not fit into the frames
// that others take by default is refused at once.
func TestOpenTopicIsBoundedByTheFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		open := netservice.WithGossip(netservice.GossipSpec{Open: true})
		big := netservice.Declare("big", netservice.Raw(), open, netservice.MaxSize(4<<20))
		usual := netservice.Declare("usual", netservice.Raw(), open)
		got := make(chan int, 9)
		for _, typ := range []*netservice.Type[[]byte]{big, usual} {
			_, err := typ.Subscribe(b.Service(), func(_ context.Context, r netservice.Received[[]byte]) { got <- len(r.Value) })
			if err != nil {
				t.Fatal(err)
			}
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		for _, c := range []struct {
			typ  *netservice.Type[[]byte]
			size int
			fits bool
		}{
			{big, 1 << 20, true},
			{big, 1<<20 + 1, false},
			{usual, 1<<20 - 1<<10, true},
			{usual, 1<<20 - 1<<10 + 1, false},
		} {
			err := c.typ.Broadcast(t.Context(), a.Service(), make([]byte, c.size))
			switch {
			case c.fits && err != nil, !c.fits && !errors.Is(err, netservice.ErrTooLarge):
				t.Errorf("%d bytes: %v", c.size, err)
			case c.fits:
				if n := next(t, "message", got); n != c.size {
					t.Errorf("%d bytes of %d", n, c.size)
				}
			}
		}
	})
}

// serviceOn makes a service on node i of a network that others use too.
func serviceOn(t *testing.T, sim *testnet.Net, i int, cfg netservice.Config) *netservice.NebService {
	t.Helper()
	key, err := sim.Key(sim.Node(i))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = []string{testnet.Multiaddr(sim.Node(i)).String()}
	s, err := netservice.NewNebService(cfg, quiet(), netservice.WithIdentity(key), netservice.WithTransport(sim.Transport(sim.Node(i))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
