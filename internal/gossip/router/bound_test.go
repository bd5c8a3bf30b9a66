package router

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// A peer is sent nothing that is larger than what it takes, nor told of it, nor given it
// when it asks; what waits for a peer that takes it delays nothing.
func TestBound(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	bound := func(most int) { g.step(Event{Kind: Bound, Peer: "old", Topic: "t", Most: most}) }
	bound(100)
	g.publish("t", "early", 101)
	g.publish("t", "small", 100)
	g.member("old", true, "t")
	if es := g.drain(); len(sent(es, "small")) != 1 || len(sent(es, "early")) != 0 {
		t.Errorf("after the first peer: small to %v, early to %v", sent(es, "small"), sent(es, "early"))
	}
	if v := g.counts("t"); v.Queued != 2 || v.Waiting != 1 {
		t.Errorf("%+v", v)
	}
	g.member("new", true, "t")
	if to := sent(g.drain(), "early"); !slices.Equal(to, []peer.ID{"new"}) {
		t.Errorf("early to %v", to)
	}
	g.pass(time.Second)
	if c := said(g.drain(), "old"); slices.ContainsFunc(c.Have, func(h rpc.HaveIDs) bool { return slices.Contains(h.IDs, "early") }) {
		t.Errorf("it is told %v", c.Have)
	}
	g.want("old", "early", "small")
	if es := g.drain(); len(sent(es, "early")) != 0 {
		t.Errorf("asked for: %+v", es)
	}
	g.accept("new", "t", "large", 101)
	g.accept("new", "t", "m", 100)
	if es := g.drain(); len(sent(es, "large")) != 0 || !slices.Equal(sent(es, "m"), []peer.ID{"old"}) {
		t.Errorf("passed on: large to %v, m to %v", sent(es, "large"), sent(es, "m"))
	}

	bound(0) // it has been brought up to date
	g.accept("new", "t", "later", 101)
	if to := sent(g.drain(), "later"); !slices.Equal(to, []peer.ID{"old"}) {
		t.Errorf("unbounded: to %v", to)
	}
}

// What waits goes to a peer that comes to take it; a peer that has gone is not bounded
// when it returns.
func TestBoundEnds(t *testing.T) {
	g := newRig(t, nil)
	g.topic(testTopic("t"))
	bound := Event{Kind: Bound, Peer: "p", Topic: "t", Most: 10}
	g.step(bound)
	g.member("p", true, "t")
	g.publish("t", "m", 11)
	bound.Most = 0
	g.step(bound)
	if to := sent(g.drain(), "m"); len(to) != 1 {
		t.Errorf("sent to %v", to)
	}
	bound.Most = 10
	g.step(bound)
	g.step(Event{Kind: Silent, Peer: "p"})
	g.step(Event{Kind: Closed, Peer: "p"})
	g.member("p", true, "t")
	g.publish("t", "again", 11)
	if to := sent(g.drain(), "again"); len(to) != 1 {
		t.Errorf("sent to %v", to)
	}
}
