package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// No honest node is banned for what another one sent through it: attackers give the
// victim what its validator rejects, ignores or defers for ever, what does not decode,
// and what it has had before, and the program of the victim tries to relay some of it.
// Each attacker whose messages are rejected is banned by the victim; the others hear
// nothing of it, and hold nothing against the victim or each other.
func TestHostileThroughHonest(t *testing.T) {
	numbers := netservice.Declare("numbers", netservice.JSON[int]())
	judge := func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
		switch word, _, _ := strings.Cut(string(m.Value), " "); word {
		case "bad":
			return netservice.Reject()
		case "dull":
			return netservice.Ignore()
		case "child":
			return netservice.Defer(string(m.Value))
		}
		return netservice.Accept()
	}
	besiege(t, nil, func(t *testing.T, s *siege) {
		honest := []*netservice.NebService{s.victim, s.friend(nil), s.friend(nil)}
		far := s.service(s.address(), func() netservice.Config { // two hops away
			c := chain()
			c.NoPeerExchange = true
			return c
		}())
		heard := make(map[*netservice.NebService]chan string)
		for _, n := range append(honest, far) {
			if err := text.Validate(n, judge); err != nil {
				t.Fatal(err)
			}
			ch := make(chan string, 1000)
			if _, err := text.Subscribe(n, func(_ context.Context, m netservice.Received[[]byte]) { ch <- string(m.Value) }); err != nil {
				t.Fatal(err)
			}
			if _, err := numbers.Subscribe(n, func(context.Context, netservice.Received[int]) {}); err != nil {
				t.Fatal(err)
			}
			heard[n] = ch
		}
		if err := far.Start(); err != nil {
			t.Fatal(err)
		}
		if err := far.ConnectPeer(t.Context(), honest[1].Node().Addrs()[0].String()); err != nil {
			t.Fatal(err)
		}
		honest = append(honest, far)
		meshed()

		names := make(map[peer.ID]string)
		for _, n := range honest {
			names[n.Node().ID()] = "honest"
		}
		friends := func(n *netservice.NebService) (count int) {
			for _, p := range n.Peers() {
				if names[p.ID] == "honest" {
					count++
				}
			}
			return count
		}
		before := make(map[*netservice.NebService]int)
		for _, n := range honest {
			before[n] = friends(n)
		}
		for i, word := range []string{"bad", "dull", "child", "garbage", "again"} {
			g := s.gossiper(meshsub)
			names[g.ID()] = word
			meshed()
			for k := range 200 {
				switch word {
				case "garbage":
					g.publish("numbers", fmt.Sprintf("no number %d", k))
				case "again":
					g.publish("text", "once")
				default:
					g.publish("text", fmt.Sprintf("%s %d", word, k))
				}
				if k%20 == 0 {
					if err := text.Broadcast(t.Context(), s.victim, fmt.Appendf(nil, "good %d %d", i, k)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			if word == "bad" || word == "dull" { // the program has it from somewhere, and asks to spread it
				m := dispatcher.NewMessage("text", g.ID().String(), []byte(word+" to relay"))
				if err := s.victim.Relay(t.Context(), m); !errors.Is(err, netservice.ErrRejected) {
					t.Errorf("relay of what is %s: %v", word, err)
				}
			}
			time.Sleep(time.Minute)
		}
		for i, n := range honest {
			for _, b := range n.Bans() {
				if who := names[b.Peer]; n != s.victim || who != "bad" {
					t.Errorf("node %d bans one that is %s: %+v", i, who, b)
				}
			}
			for _, p := range n.Peers() {
				if names[p.ID] == "honest" && (p.Value.Penalty != 0 || p.Value.Gossip < 0) {
					t.Errorf("node %d holds something against an honest one: %+v", i, p.Value)
				}
			}
			if now := friends(n); now != before[n] {
				t.Errorf("node %d has %d honest peers, %d before", i, now, before[n])
			}
			good := 0
			for len(heard[n]) > 0 {
				if m := <-heard[n]; strings.HasPrefix(m, "good ") {
					good++
				} else if m != "once" {
					t.Errorf("node %d got %q", i, m)
				}
			}
			if n != s.victim && good != 50 { // who says it itself
				t.Errorf("node %d got %d of 50 good ones", i, good)
			}
		}
		if len(s.victim.Bans()) != 1 {
			t.Errorf("%+v: the attacker is to be banned, and nobody else", s.victim.Bans())
		}
	})
}
