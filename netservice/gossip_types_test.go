package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func gossipOf(n *nettest.Node, typ string) netservice.GossipTypeStats {
	return n.Service().Stats().Gossip.Types[typ]
}

// A type that is declared and not subscribed to can be published: it reaches
// those who subscribed, and what they publish does not come here.
func TestPublishOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		var others []*nettest.Node
		var in []<-chan netservice.Received[[]byte]
		for range 3 {
			n := nw.Add(booted(a), quiet())
			others, in = append(others, n), append(in, inbox(t, n.Service(), 5))
		}
		nw.Start()
		a.WaitForPeers(3)
		time.Sleep(3 * time.Second)
		if err := text.Broadcast(t.Context(), a.Service(), []byte("from outside")); err != nil {
			t.Fatal(err)
		}
		for _, ch := range in {
			next(t, "message", ch)
			none(t, "second copy", ch, time.Second)
		}
		if err := text.Broadcast(t.Context(), others[0].Service(), []byte("from inside")); err != nil {
			t.Fatal(err)
		}
		next(t, "message", in[1])
		time.Sleep(5 * time.Second)
		if st := gossipOf(a, "text"); st.Joined || st.Mesh != 0 || st.BytesIn != 0 || st.Published != 1 {
			t.Errorf("publish-only node: %+v", st)
		}
	})
}

// With the last subscriber a node leaves the topic; with a new one it is back.
func TestSubscribeAndUnsubscribe(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		c := nw.Add(booted(a), quiet())
		inbox(t, a.Service(), 5)
		kept := inbox(t, c.Service(), 5)
		nw.Start()
		a.WaitForPeers(2)
		say := func(s string) {
			t.Helper()
			if err := text.Broadcast(t.Context(), a.Service(), []byte(s)); err != nil {
				t.Fatal(err)
			}
			next(t, "message", kept)
		}
		for round := range 2 {
			got := make(chan struct{}, 5)
			subs := make([]*netservice.Subscription, 2)
			for i := range subs {
				var err error
				subs[i], err = text.Subscribe(b.Service(), func(context.Context, netservice.Received[[]byte]) { got <- struct{}{} })
				if err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * time.Second)
			say(fmt.Sprint("both, round ", round))
			next(t, "message", got)
			next(t, "message of the second subscriber", got)
			if err := subs[0].Close(); err != nil {
				t.Fatal(err)
			}
			say(fmt.Sprint("one, round ", round))
			next(t, "message", got)
			if err := subs[1].Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			before := gossipOf(b, "text")
			say(fmt.Sprint("none, round ", round))
			none(t, "message after unsubscribing", got, 5*time.Second)
			if st := gossipOf(b, "text"); st.Joined || st.Mesh != 0 || st.BytesIn != before.BytesIn {
				t.Errorf("after unsubscribing: %+v", st)
			}
		}
	})
}

// Stats show the mesh, the protocol and the score of every peer.
func TestGossipPeersInStats(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		nodes, in := ring(t, nw, 3)
		time.Sleep(5 * time.Second)
		for i := range 5 {
			if err := text.Broadcast(t.Context(), nodes[0].Service(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			next(t, "message", in[1])
		}
		time.Sleep(3 * time.Second)
		peers := nodes[1].Service().Stats().Gossip.Peers
		if len(peers) != 2 {
			t.Fatalf("%d peers", len(peers))
		}
		sender := peers[nodes[0].ID()]
		if !slices.Equal(sender.Mesh, []string{"text"}) || sender.Protocol != "/meshsub/1.3.0" || sender.Score <= peers[nodes[2].ID()].Score {
			t.Errorf("the sender: %+v; the other: %+v", sender, peers[nodes[2].ID()])
		}
	})
}

func reserve(t *testing.T, n, p *nettest.Node) {
	t.Helper()
	if err := n.Service().ReservePeer(p.Addr()); err != nil {
		t.Fatal(err)
	}
}

// A reserved peer is a direct one: it is in no mesh, and gets everything. One
// that reserves nobody still brings what others say, by gossip. It makes no
// difference whether they are reserved before the start or later.
func TestReservedPeersAreDirect(t *testing.T) {
	for _, run := range []struct{ mutual, later bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		mutual := run.mutual
		t.Run(fmt.Sprintf("mutual %t, later %t", mutual, run.later), func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a, b, c := chain(), chain(), chain()
				a.NoPeerExchange, b.NoPeerExchange = true, true
				if !run.later {
					a.Reserved = []string{addrOfNode(t, 1)}
				}
				if !run.later && mutual {
					b.Reserved = []string{addrOfNode(t, 0)}
				}
				c.NoPeerExchange, c.Bootstrap = true, []string{addrOfNode(t, 1)}
				nodes := []*nettest.Node{nw.Add(a, quiet()), nw.Add(b, quiet()), nw.Add(c, quiet())} // a - b - c
				var in []<-chan netservice.Received[[]byte]
				for _, n := range nodes {
					in = append(in, inbox(t, n.Service(), 5))
				}
				nw.Start()
				if run.later {
					nodes[1].WaitForPeers(1)
					reserve(t, nodes[0], nodes[1])
				}
				if run.later && mutual {
					reserve(t, nodes[1], nodes[0])
				}
				nodes[1].WaitForPeers(2)
				time.Sleep(5 * time.Second)
				if err := text.Broadcast(t.Context(), nodes[2].Service(), []byte("from the far end")); err != nil {
					t.Fatal(err)
				}
				said := time.Now()
				next(t, "message", in[0])
				if took := time.Since(said); mutual && took > 100*time.Millisecond || took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				if err := text.Broadcast(t.Context(), nodes[0].Service(), []byte("from the near end")); err != nil {
					t.Fatal(err)
				}
				said = time.Now()
				next(t, "message", in[2])
				if took := time.Since(said); took > 100*time.Millisecond {
					t.Errorf("took %v", took)
				}
				if p := nodes[0].Service().Stats().Gossip.Peers[nodes[1].ID()]; len(p.Mesh) != 0 || p.Protocol == "" {
					t.Errorf("the reserved peer: %+v", p)
				}
			})
		})
	}
}

// Of a timed type the time from publication to delivery shows in Stats.
func TestTimedType(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		timed := netservice.Declare("timed", netservice.Raw(), netservice.WithGossip(netservice.GossipSpec{Timed: true}))
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		got := make(chan string, 5)
		inbox(t, a.Service(), 1) // so that it has gossip streams from the start
		if _, err := timed.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		if err := timed.Broadcast(t.Context(), a.Service(), []byte("tick")); err != nil {
			t.Fatal(err)
		}
		if s := next(t, "message", got); s != "tick" {
			t.Errorf("got %q", s)
		}
		if d := gossipOf(b, "timed").Delay; d.Count != 1 || d.P99 < 10*time.Millisecond || d.P99 > 20*time.Millisecond {
			t.Errorf("delay over a link of 10 ms: %+v", d)
		}
	})
}

// What Broadcast says when it cannot.
func TestBroadcastErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		now := netservice.Declare("now", netservice.Raw(), netservice.MaxSize(10), netservice.WithGossip(netservice.GossipSpec{PeerWait: -1}))
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		s := a.Service()
		if err := now.Broadcast(t.Context(), s, nil); !errors.Is(err, netservice.ErrNotStarted) {
			t.Errorf("before Start: %v", err)
		}
		a.Start()
		if err := now.Broadcast(t.Context(), s, make([]byte, 11)); !errors.Is(err, netservice.ErrTooLarge) {
			t.Errorf("11 bytes of 10: %v", err)
		}
		if err := now.Broadcast(t.Context(), s, []byte("x")); !errors.Is(err, netservice.ErrNoPeers) {
			t.Errorf("without peers: %v", err)
		}
		if err := s.Broadcast(t.Context(), "no such name!", nil); err == nil {
			t.Error("a type with a name that cannot be")
		}
		twin := netservice.GossipSpec{Topic: "theirs"}
		if err := s.Declare(netservice.MessageSpec{Name: "one", Gossip: twin}); err != nil {
			t.Fatal(err)
		}
		if err := s.Declare(netservice.MessageSpec{Name: "two", Gossip: twin}); !errors.Is(err, netservice.ErrConflict) {
			t.Errorf("two types on one topic: %v", err)
		}
		if _, err := now.Subscribe(b.Service(), func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		b.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		// What nobody was handed is no duplicate.
		if err := now.Broadcast(t.Context(), s, []byte("x")); err != nil {
			t.Errorf("with a peer: %v", err)
		}
		if err := now.Broadcast(t.Context(), s, []byte("x")); !errors.Is(err, netservice.ErrDuplicate) {
			t.Errorf("again: %v", err)
		}

		// While the service stops, each call succeeds or says that it stopped.
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := 0; ; j++ {
					err := text.Broadcast(t.Context(), s, fmt.Append(nil, i, j))
					if errors.Is(err, netservice.ErrStopped) && errors.Is(err, net.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, netservice.ErrQueueFull) {
						t.Errorf("while stopping: %v", err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		a.Stop()
		wg.Wait()
		if err := s.Declare(netservice.MessageSpec{Name: "late"}); !errors.Is(err, netservice.ErrStopped) {
			t.Errorf("Declare after Stop: %v", err)
		}
		if err := s.SetValidator("text", nil); !errors.Is(err, netservice.ErrStopped) {
			t.Errorf("SetValidator after Stop: %v", err)
		}
		if n := s.Resume("key"); n != 0 {
			t.Errorf("Resume after Stop: %d", n)
		}
	})
}

// Broadcast works with every set of parameters; mistakes in one are named.
func TestGossipParams(t *testing.T) {
	for _, profile := range []string{"small-network", "public-network", "low-latency"} {
		t.Run(profile, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				cfg := chain()
				cfg.GossipProfile = profile
				var in []<-chan netservice.Received[[]byte]
				var nodes []*nettest.Node
				for i := range 5 {
					if i > 0 {
						cfg.Bootstrap = []string{nodes[0].Addr()}
					}
					nodes = append(nodes, nw.Add(cfg, quiet()))
					in = append(in, inbox(t, nodes[i].Service(), 5))
				}
				nw.Start()
				nodes[0].WaitForPeers(4)
				time.Sleep(5 * time.Second)
				if err := text.Broadcast(t.Context(), nodes[3].Service(), []byte("x")); err != nil {
					t.Fatal(err)
				}
				for i, ch := range in {
					if i != 3 {
						next(t, "message", ch)
					}
				}
			})
		})
	}
	p := netservice.LowLatency()
	p.Dlo, p.TopicCap = 20, -1
	cfg := chain()
	cfg.Listen = []string{netservice.ListenNowhere}
	_, err := netservice.NewNebService(cfg, quiet(), netservice.WithGossipParams(p))
	var fields []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if c, ok := errors.AsType[*netservice.ConfigError](err); ok {
				fields = append(fields, c.Field)
			}
		}
	}
	if !slices.Equal(fields, []string{"GossipParams.Dlo", "GossipParams.TopicCap"}) {
		t.Errorf("fields %v of %v", fields, err)
	}
}
