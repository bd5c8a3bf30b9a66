package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A peer is named and taken back while the node runs: it comes, and when its
// session ends it is dialled no more.
func TestStaticPeerLive(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.MaxPeers = 1
		a, b := nw.Add(chain(), quiet()), nw.Add(cfg, quiet())
		nw.Start()
		s := b.Service()
		for _, bad := range []string{"", "x", "/p2p/x", b.Addr()} {
			if err := s.AddStaticPeer(bad); err == nil {
				t.Errorf("%q is taken", bad)
			}
		}
		if err := s.AddStaticPeer(a.Addr()); err != nil {
			t.Fatal(err)
		}
		b.WaitForPeers(1)
		time.Sleep(time.Second) // a peer that came this moment has no value yet
		p := s.Peers()[0]
		if !p.Persistent || p.Protected != "persistent" || p.Transport != "tcp" || p.Value.Total == 0 {
			t.Errorf("%+v", p)
		}
		a.Crash()
		time.Sleep(time.Minute)
		a.Restart()
		time.Sleep(time.Minute)
		if len(s.Peers()) != 1 {
			t.Error("it is not kept connected")
		}
		if err := s.RemoveStaticPeer(a.ID().String()); err != nil {
			t.Fatal(err)
		}
		if p := s.Peers()[0]; p.Persistent {
			t.Errorf("%+v", p)
		}
		b.Stop()
		if err := s.AddStaticPeer(a.Addr()); !errors.Is(err, netservice.ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

// A peer of the configuration may be taken back before the start; one that had two
// roles has one left.
func TestNamesAreTakenBackBeforeStart(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		boot, static, reserved, two := booted(a), chain(), chain(), booted(a)
		static.Static, reserved.Reserved, two.Reserved = booted(a).Bootstrap, booted(a).Bootstrap, booted(a).Bootstrap
		id, remove := a.ID().String(), (*netservice.NebService).RemoveBootstrapPeer
		for _, x := range []struct {
			cfg    netservice.Config
			remove func(*netservice.NebService, string) error
		}{
			{boot, remove},
			{static, (*netservice.NebService).RemoveStaticPeer},
			{reserved, (*netservice.NebService).UnreservePeer},
			{two, remove},
		} {
			if err := x.remove(nw.Add(x.cfg, quiet()).Service(), id); err != nil {
				t.Error(err)
			}
		}
		nw.Start()
		time.Sleep(time.Minute)
		for i, nd := range nw.Nodes()[1:] {
			w, err := nd.Service().Why(id)
			if kept := i == 3; err != nil || w.Persistent != kept || w.Reserved != kept {
				t.Errorf("node %d: %+v, %v", i, w, err)
			}
		}
	})
}

func TestWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		other := netservice.Config{ChainID: "other"}
		a, b, c, away := nw.Add(chain(), quiet()), nw.Add(chain(), quiet()), nw.Add(other, quiet()), nw.Add(chain(), quiet())
		for _, nd := range []*nettest.Node{a, b, c} {
			nd.Start()
		}
		s := a.Service()
		why := func(nd *nettest.Node) netservice.PeerWhy {
			t.Helper()
			w, err := s.Why(nd.ID().String())
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		says := func(nd *nettest.Node, words ...string) {
			t.Helper()
			text := why(nd).String()
			for _, w := range words {
				if !strings.Contains(text, w) {
					t.Errorf("%q does not say %q", text, w)
				}
			}
		}
		if _, err := s.Why("x"); err == nil {
			t.Error("no peer ID")
		}
		says(a, "this node itself")
		says(b, "nothing is known of it")
		if err := s.ConnectPeer(t.Context(), b.Addr()); err != nil {
			t.Fatal(err)
		}
		says(b, "is connected")
		if err := s.ConnectPeer(t.Context(), c.Addr()); err == nil {
			t.Fatal("another chain")
		}
		says(c, "can be no peer", "chain")
		for _, nd := range []*nettest.Node{away, b} {
			if err := s.AddStaticPeer(nd.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		says(away, "the last attempt failed", "tried next in", nd(away), "operator")
		if w := why(away); w.Failures == 0 || w.Last != netservice.ReasonUnreachable || !w.Persistent || w.Detail == "" {
			t.Errorf("%+v", w)
		}
		if err := s.BanPeer(b.ID().String(), time.Hour); err != nil {
			t.Fatal(err)
		}
		says(b, "banned", "by the operator", "1h0m0s")
		if w := why(b); w.Banned == nil || w.Last != netservice.ReasonBanned || !w.WasSession {
			t.Errorf("%+v", w)
		}
		if bans := s.Bans(); len(bans) != 1 || bans[0].Peer != b.ID() {
			t.Errorf("%+v", bans)
		}
	})
}

func nd(n *nettest.Node) string { return n.IP().String() }

// Limits change while the service runs: who is worth least goes, those that the
// operator named stay, and when there is place again, it is filled.
func TestPeerLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.InboundShare = 1
		hub := nw.Add(cfg, quiet())
		var all []*nettest.Node
		for range 8 {
			all = append(all, nw.Add(booted(hub), quiet()))
		}
		nw.Start()
		hub.WaitForPeers(8)
		s, named := hub.Service(), all[5]
		if err := s.AddStaticPeer(named.Addr()); err != nil {
			t.Fatal(err)
		}
		gone := s.SubscribePeers(netservice.PeerDisconnected)
		defer gone.Close()
		limits := s.PeerLimits()
		limits.MaxPeers = 3
		if err := s.SetPeerLimits(limits); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if e := event(t, gone, netservice.PeerDisconnected); e.Reason != netservice.ReasonTooManyPeers || e.Peer == named.ID() {
				t.Errorf("%s: %s", e.Peer, e.Reason)
			}
		}
		time.Sleep(time.Second) // the sessions say goodbye
		if got := s.PeerLimits(); got != limits || len(s.Peers()) != 3 {
			t.Errorf("%+v, %d peers", got, len(s.Peers()))
		}
		limits.MaxPeers = 8
		if err := s.SetPeerLimits(limits); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); len(s.Peers()) < 8; time.Sleep(time.Second) {
			if time.Since(begun) > 30*time.Minute { // they were told that there is no place
				t.Fatalf("%d peers are back", len(s.Peers()))
			}
		}
		for _, wrong := range []netservice.PeerLimits{{MaxPeers: -1}, {InboundShare: 1.5}, {OutboundPeers: -1}, {MaxPeers: 5, OutboundPeers: 6}, {OutboundPeers: 51}} {
			if _, ok := errors.AsType[*netservice.ConfigError](s.SetPeerLimits(wrong)); !ok {
				t.Errorf("%+v is taken", wrong)
			}
		}
		if got := s.PeerLimits(); got != limits {
			t.Errorf("%+v after what was refused", got)
		}
	})
}

// Each report adds up to a ban; one who is banned is told, and may come back when
// it is lifted.
func TestReportPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		s, id := a.Service(), b.ID().String()
		for range 3 {
			if err := s.ReportPeer(id, "sent\nnonsense", 30); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.Peers()) != 1 || s.Peers()[0].Value.Penalty > -80 {
			t.Errorf("%+v", s.Peers())
		}
		if err := s.ReportPeer(id, "sent\nnonsense", 30); err != nil {
			t.Fatal(err)
		}
		bans := s.Bans()
		if len(bans) != 1 || bans[0].Reason != "sent?nonsense" || bans[0].Until.Sub(bans[0].Since) != time.Hour {
			t.Fatalf("%+v", bans)
		}
		if err := s.UnbanPeer(id); err != nil || len(s.Bans()) != 0 {
			t.Errorf("%v", err)
		}
		time.Sleep(2 * time.Hour) // b keeps away from who has banned it
		if len(s.Peers()) != 1 {
			t.Error("not back")
		}
		if err := s.BanNetwork(b.IP().String(), 0); err != nil || len(s.Bans()) != 1 || !s.Bans()[0].Network.Contains(b.IP()) {
			t.Errorf("%v, %+v", err, s.Bans())
		}
		time.Sleep(time.Second)
		if len(s.Peers()) != 0 {
			t.Error("a peer of a banned network stays")
		}
		if err := s.UnbanNetwork(b.IP().String()); err != nil || len(s.Bans()) != 0 {
			t.Errorf("%v", err)
		}
		if s.BanNetwork(b.IP().String(), -1) == nil || s.BanPeer(b.ID().String(), -1) == nil || len(s.Bans()) != 0 {
			t.Errorf("bans of a negative time: %+v", s.Bans())
		}
		if s.BanNetwork("x", 0) == nil || s.ReportPeer("x", "", 1) == nil {
			t.Error("nonsense is taken")
		}
	})
}

// A reload takes effect at once, on what it may; sessions that still qualify stay.
func TestReload(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		var nodes []*nettest.Node
		for range 4 {
			nodes = append(nodes, nw.Add(chain(), quiet()))
		}
		cfg := booted(nodes[0])
		cfg.NoPeerExchange = true
		me := nw.Add(cfg, quiet())
		s := me.Service()
		if err := s.Reload(cfg); !errors.Is(err, netservice.ErrNotStarted) {
			t.Errorf("before Start: %v", err)
		}
		nw.Start()
		me.WaitForPeers(1)
		sub := s.SubscribePeers(netservice.PeerDisconnected)
		defer sub.Close()

		next := s.Config()
		next.Static = []string{nodes[1].Addr(), nodes[2].Addr()}
		next.Reserved = []string{nodes[3].Addr()}
		if err := s.Reload(next); err != nil {
			t.Fatal(err)
		}
		me.WaitForPeers(4)
		none(t, "session that ended", sub.Events(), time.Second)

		next.Agent, next.ChainID, next.MaxPeers = "other/1", "else", 20
		err := s.Reload(next)
		var fields []string
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			if ce, ok := errors.AsType[*netservice.ConfigError](e); ok && errors.Is(e, netservice.ErrNeedsRestart) {
				fields = append(fields, ce.Field)
			}
		}
		if fmt.Sprint(fields) != "[ChainID Agent]" || s.PeerLimits().MaxPeers != 20 || s.Config().ChainID == "else" {
			t.Errorf("%v: %v, limits %+v", fields, err, s.PeerLimits())
		}
		bad := s.Config()
		bad.Static, bad.MaxPeers = nil, -1
		if err := s.Reload(bad); err == nil || len(s.Config().Static) != 2 {
			t.Errorf("a wrong one is taken in part: %v", err)
		}
		next = s.Config()
		next.Static, next.Reserved, next.Bootstrap = nil, nil, nil
		if err := s.Reload(next); err != nil {
			t.Fatal(err)
		}
		none(t, "session that ended", sub.Events(), time.Second)
		for _, p := range s.Peers() {
			if p.Persistent || p.Reserved {
				t.Errorf("%+v", p)
			}
		}
		next.MaxPeers = 2
		if err := s.Reload(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(s.Peers()); n != 2 {
			t.Errorf("%d peers, 2 may stay", n)
		}
	})
}

// finder is a PeerSource.
type finder struct {
	addrs []string
	asked chan int
}

func (f finder) Name() string { return "finder" }

func (f finder) Find(_ context.Context, want int, found func(string)) error {
	select {
	case f.asked <- want:
	default:
	}
	for _, a := range f.addrs {
		found(a)
	}
	return nil
}

// What a source of the program finds is dialled, and it is not asked when there
// are peers enough.
func TestPeerSource(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
		src := finder{addrs: []string{a.Addr(), "nonsense", b.Addr()}, asked: make(chan int, 1000)}
		cfg := chain()
		cfg.MaxPeers, cfg.InboundShare = 2, -1
		me := nw.Add(cfg, quiet(), netservice.WithPeerSource(src))
		nw.Start()
		me.WaitForPeers(2)
		if want := <-src.asked; want != 2 {
			t.Errorf("asked for %d", want)
		}
		for len(src.asked) > 0 {
			<-src.asked
		}
		time.Sleep(time.Hour)
		if len(src.asked) > 1 {
			t.Errorf("asked %d times although there are peers enough", len(src.asked))
		}
		w, err := me.Service().Why(a.ID().String())
		if err != nil || w.Source != "application" && w.Source != "peer" {
			t.Errorf("%+v, %v", w, err)
		}
	})
}
