package netservice_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/netservice"
)

// control sends one control message.
func (g *gossiper) control(c *pb.ControlMessage) {
	g.s.t.Helper()
	g.send(&pb.RPC{Control: c})
}

func (g *gossiper) graft(topic string) {
	g.s.t.Helper()
	g.control(&pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: &topic}}})
}

// unknownIDs are names of messages that there are not.
func unknownIDs(from, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("id of nothing %06d", from+i)
	}
	return all
}

// refusesInvalid has the victim reject what begins with a word.
func refusesInvalid(t *testing.T, s *siege) {
	t.Helper()
	err := s.victim.SetValidator("text", func(_ context.Context, m dispatcher.Message) netservice.Verdict {
		if strings.HasPrefix(string(m.Data()), "invalid") {
			return netservice.Reject()
		}
		return netservice.Accept()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The attacks that go-libp2p-pubsub's own tests try, against a whole service: each
// costs its peer the service's good opinion, most of them the session, and nobody else
// anything.
func TestHostileGossipSpam(t *testing.T) {
	for name, attack := range map[string]struct {
		banned bool
		do     func(t *testing.T, s *siege, g *gossiper)
	}{
		// Row 35.
		"announcements": {true, func(t *testing.T, s *siege, g *gossiper) {
			for i := range 60 {
				g.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new(s.topic("text")), MessageIDs: unknownIDs(i*5000, 5000)}}})
			}
			meshed()
			asked := 0
			for _, in := range g.heard() {
				for _, w := range in.GetControl().GetIwant() {
					asked += len(w.GetMessageIDs())
				}
			}
			if asked > 2*5000 { // two heartbeats may have passed
				t.Errorf("%d messages are asked for", asked)
			}
		}},
		// Row 36.
		"requests": {true, func(t *testing.T, s *siege, g *gossiper) {
			if err := text.Broadcast(t.Context(), s.victim, []byte("wanted")); err != nil {
				t.Fatal(err)
			}
			id := gossip.ContentID(s.topic("text"), []byte("wanted"), "", nil)
			for range 100 {
				g.control(&pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: []string{id}}}})
			}
			meshed()
			served := 0
			for _, in := range g.heard() {
				served += len(in.GetPublish())
			}
			if served > 1+3 {
				t.Errorf("one message is served %d times", served)
			}
			for i := range 20 {
				g.control(&pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: unknownIDs(i*5000, 5000)}}})
			}
		}},
		// Row 37.
		"grafts in the back-off": {true, func(t *testing.T, s *siege, g *gossiper) {
			g.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: new(s.topic("text"))}}})
			for range 20 {
				time.Sleep(100 * time.Millisecond)
				g.graft(s.topic("text"))
			}
			time.Sleep(time.Second)
			if mesh := s.victim.Stats().Gossip.Types["text"].Mesh; mesh != 0 {
				t.Errorf("%d in the mesh", mesh)
			}
		}},
		"grafts for unknown topics": {false, func(t *testing.T, s *siege, g *gossiper) {
			for i := range 1000 {
				g.graft(fmt.Sprint("unknown ", i))
			}
			meshed()
			for _, in := range g.heard() {
				if len(in.GetControl().GetPrune()) > 0 {
					t.Error("is answered")
				}
			}
			if v := g.score(); v < 0 {
				t.Errorf("what other versions of a program may do costs %v", v)
			}
		}},
		"invalid messages": {true, func(t *testing.T, s *siege, g *gossiper) {
			refusesInvalid(t, s)
			for i := range 20 {
				g.publish("text", fmt.Sprint("invalid ", i))
			}
		}},
		"broken promises": {true, func(t *testing.T, s *siege, g *gossiper) {
			for i := range 40 {
				g.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new(s.topic("text")), MessageIDs: unknownIDs(i, 1)}}})
				time.Sleep(time.Second)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				g := s.gossiper(meshsub)
				g.subscribe(s.topic("text"))
				meshed()
				g.heard()
				attack.do(t, s, g)
				if attack.banned {
					s.event(netservice.PeerBanned, g.ID())
				}
				s.mustServe("after")
			})
		})
	}
}

// Twenty peers that behave well for minutes, fill the mesh of a service, and then say
// nothing but what is invalid, cost it no message of an honest peer: neither while they
// keep still nor after. So a covert flash, and sybils that fill a mesh.
func TestHostileGossipCovertFlash(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		refusesInvalid(t, s)
		const sybils = 20
		var all []*gossiper
		for range sybils {
			g := s.gossiper(meshsub)
			g.subscribe(s.topic("text"))
			g.graft(s.topic("text"))
			all = append(all, g)
		}
		honest := s.friend(nil)
		meshed()
		if mesh := s.victim.Stats().Gossip.Types["text"].Mesh; mesh < 5 || mesh > 11 {
			t.Fatalf("%d in the mesh", mesh)
		}
		said := 0
		hears := func(when string) {
			t.Helper()
			said++
			word := fmt.Sprint(when, " ", said)
			if err := text.Broadcast(t.Context(), honest, []byte(word)); err != nil {
				t.Fatal(err)
			}
			for next(t, when, s.texts) != word {
			}
		}
		for i := range 60 {
			for k, g := range all {
				g.publish("text", fmt.Sprint("fine ", i, " ", k))
				next(t, "message of a sybil", s.texts)
			}
			time.Sleep(time.Second)
		}
		for range 10 { // they keep still
			hears("quiet")
			time.Sleep(time.Second)
		}
		for i := range 20 {
			for k, g := range all {
				g.publish("text", fmt.Sprint("invalid ", i, " ", k))
			}
		}
		hears("flash")
		for _, g := range all {
			// One of which only a few were judged before nothing of it was read goes on
			// as it is heard again.
			for end, i := time.Now().Add(10*time.Minute), 0; s.peers(g.ID()) > 0; i++ {
				if time.Now().After(end) {
					t.Fatalf("a sybil is still a peer, with a score of %v", g.score())
				}
				g.publish("text", fmt.Sprint("invalid again ", i, " ", g.ID()))
				time.Sleep(time.Second)
			}
		}
		hears("after")
		if score := s.victim.Stats().Gossip.Peers[honest.Node().ID()].Score; score < 0 {
			t.Errorf("the honest peer has %v", score)
		}
	})
}
