package netservice_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// Peers says of each peer what a human asks, and each fact is true.
func TestPeerInfo(t *testing.T) {
	const rtt = 60 * time.Millisecond
	bubble(t, func(t *testing.T) {
		nw := nettest.New(t, nettest.WithLink(nettest.Link{Latency: rtt / 2}))
		alone := func(agent string) netservice.Config {
			c := chain()
			c.Agent, c.NoPeerExchange = agent, true
			return c
		}
		me := nw.Add(alone("me/1"), quiet())
		peers := map[string]*nettest.Node{}
		for _, name := range []string{"static", "reserved", "dialled", "came"} {
			peers[name] = nw.Add(alone(name+"/2"), quiet(), netservice.WithPayload(func() []byte { return []byte("payload of " + name) }))
		}
		tx := netservice.Declare("tx", netservice.Raw(), netservice.WithSubscription(dispatcher.WithWeight(3)))
		echo := netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())
		for _, nd := range append([]*nettest.Node{me}, slices.Collect(maps.Values(peers))...) {
			s := nd.Service()
			if _, err := tx.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
				t.Fatal(err)
			}
			if err := tx.Validate(s, func(context.Context, netservice.Received[[]byte]) netservice.Verdict { return netservice.Accept() }); err != nil {
				t.Fatal(err)
			}
			if _, err := echo.Serve(s, func(_ context.Context, _ peer.ID, b []byte) ([]byte, error) { return b, nil }); err != nil {
				t.Fatal(err)
			}
			size := 6000
			if nd == peers["came"] {
				size = 9000
			}
			if err := s.Declare(netservice.MessageSpec{Name: "block", MaxSize: size}); err != nil {
				t.Fatal(err)
			}
			inbox(t, s, 100)
		}
		nw.Start()
		s := me.Service()
		begun := make(map[string]time.Time)
		connect := func(name string, f func() error) {
			t.Helper()
			if err := f(); err != nil {
				t.Fatal(err)
			}
			for len(s.Peers()) <= len(begun) {
				time.Sleep(time.Millisecond)
			}
			begun[name] = time.Now()
			time.Sleep(time.Second)
		}
		connect("static", func() error { return s.AddStaticPeer(peers["static"].Addr()) })
		connect("reserved", func() error { return s.ReservePeer(peers["reserved"].Addr()) })
		connect("dialled", func() error { return s.ConnectPeer(t.Context(), peers["dialled"].Addr()) })
		connect("came", func() error { return peers["came"].Service().ConnectPeer(t.Context(), me.Addr()) })
		time.Sleep(time.Minute)

		info := func(name string) netservice.PeerInfo {
			t.Helper()
			for _, p := range s.Peers() {
				if p.ID == peers[name].ID() {
					return p
				}
			}
			t.Fatalf("%s is not here", name)
			return netservice.PeerInfo{}
		}
		for name, protected := range map[string]string{
			"static": "persistent", "reserved": "reserved", "dialled": "chosen by this node", "came": "longest here",
		} {
			p, dir := info(name), network.DirOutbound
			where := "/ip4/" + peers[name].IP().String() + "/tcp/"
			if name == "came" {
				dir = network.DirInbound
			} else {
				where, _, _ = strings.Cut(peers[name].Addr(), "/p2p/")
			}
			if !strings.HasPrefix(p.Addr.String(), where) {
				t.Errorf("%s: at %s, not %s", name, p.Addr, where)
			}
			if p.Agent != name+"/2" || string(p.Payload) != "payload of "+name || p.Transport != "tcp" || p.Direction != dir {
				t.Errorf("%s: who and where: %+v", name, p)
			}
			if d := begun[name].Sub(p.Since); d < 0 || d > rtt {
				t.Errorf("%s: since %s, came about at %s", name, p.Since, begun[name])
			}
			if p.RTT < rtt || p.RTT > rtt+rtt/10 {
				t.Errorf("%s: round trip %s, of %s", name, p.RTT, rtt)
			}
			if p.Protected != protected || p.Reserved != (name == "reserved") || p.Persistent != (name == "static" || name == "reserved") {
				t.Errorf("%s: protected as %q, reserved %t, persistent %t", name, p.Protected, p.Reserved, p.Persistent)
			}
			if p.LastEnded != netservice.ReasonNone || p.Session == "" || p.Version == 0 {
				t.Errorf("%s: %+v", name, p)
			}
			differs := len(p.Differing) == 1 && p.Differing[0].Type == "block" && p.Differing[0].Ours.MaxSize == 6000 && p.Differing[0].Theirs.MaxSize == 9000
			if differs != (name == "came") || !differs && len(p.Differing) > 0 {
				t.Errorf("%s: differs in %+v", name, p.Differing)
			}
			if name != "reserved" && !slices.Contains(p.Mesh, "tx") { // reserved ones are told of everything without a mesh
				t.Errorf("%s: in the meshes of %v", name, p.Mesh)
			}
			v := p.Value
			if want := 5 * 100 / (100 + p.RTT.Seconds()*1000); v.Latency < want-0.01 || v.Latency > want+0.01 {
				t.Errorf("%s: %.3f for latency, not %.3f", name, v.Latency, want)
			}
			if v.Age <= 0 || v.Age > 1 || v.Useful != 0 || v.Answers != 0 || v.Penalty != 0 {
				t.Errorf("%s: %+v", name, v)
			}
		}

		// What each part of the value is for, one by one.
		before := info("came")
		from := peers["came"].Service()
		if _, err := from.SendMessageToPeers(t.Context(), "tx", randomBytes(1000), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		sent := info("came")
		if in := sent.BytesIn - before.BytesIn; in < 1000 || in > 2000 || sent.BytesOut-before.BytesOut > 1000 {
			t.Errorf("bytes in %d and out %d after 1000 that were sent", in, sent.BytesOut-before.BytesOut)
		}
		if err := tx.Broadcast(t.Context(), from, randomBytes(3000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		told := info("came")
		if in := told.BytesIn - sent.BytesIn; in < 3000 || in > 6000 {
			t.Errorf("bytes in %d after a broadcast of 3000", in)
		}
		if passed := info("static").BytesOut; passed < 3000 {
			t.Errorf("bytes out %d to one that the broadcast was passed on to", passed)
		}
		if u := told.Value.Useful; u < 19.9 || u > 20 { // 10 for each doubling: of 1 and 3, the weight
			t.Errorf("useful %.2f after a message that it was the first to bring", u)
		}
		if _, err := echo.Call(t.Context(), s, peers["came"].ID(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := s.ReportPeer(peers["came"].ID().String(), "a test", 5); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		p := info("came")
		if v := p.Value; v.Answers <= 0 || v.Penalty > -4 || v.Penalty < -5 || v.Total != v.Useful+v.Latency+v.Age+v.Gossip+v.Answers+v.Penalty {
			t.Errorf("%+v", v)
		}
		if p.Score == 0 {
			t.Error("no score in broadcasting")
		}

		// Why the session before this one ended.
		for name, end := range map[string]struct {
			f    func()
			want netservice.DisconnectReason
		}{
			"static":   {func() { _ = peers["static"].Service().ClosePeer(me.ID().String(), netservice.ReasonRequested) }, netservice.ReasonRequested},
			"reserved": {func() { peers["reserved"].Stop() }, netservice.ReasonShuttingDown},
		} {
			end.f()
			time.Sleep(time.Second)
			if end.want == netservice.ReasonShuttingDown {
				peers[name].Restart()
			}
			time.Sleep(time.Minute)
			if got := info(name).LastEnded; got != end.want {
				t.Errorf("%s: the last one ended with %q, not %q", name, got, end.want)
			}
		}
		back := info("reserved")
		text, err := json.Marshal(back)
		var words struct{ Direction, LastEnded, Protected string }
		if err != nil || json.Unmarshal(text, &words) != nil || words.Direction != strings.ToLower(back.Direction.String()) || words.LastEnded != "shutting_down" || words.Protected != "reserved" {
			t.Errorf("%s, %v", text, err)
		}
	})
}
