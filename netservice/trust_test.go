package netservice_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func TestBanPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		gone := a.Service().SubscribePeers(netservice.PeerDisconnected)
		id := b.ID().String()
		nw.Start()
		a.WaitForPeers(1)
		if err := a.Service().BanPeer("nonsense", time.Minute); err == nil {
			t.Error("a ban of nobody")
		}
		if err := a.Service().BanPeer(id, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		if e := event(t, gone, netservice.PeerDisconnected); e.Reason != netservice.ReasonBanned {
			t.Errorf("event: %+v", e)
		}
		if err := a.Service().ConnectPeer(t.Context(), b.Addr()); !errors.Is(err, netservice.ReasonBanned) {
			t.Errorf("connect to a banned peer: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(a.Service().Peers()); n != 0 {
			t.Errorf("%d peers within the ban", n)
		}
		if err := a.Service().UnbanPeer(id); err != nil {
			t.Fatal(err)
		}
		if err := a.Service().ConnectPeer(t.Context(), b.Addr()); err != nil {
			t.Errorf("connect after the ban was lifted: %v", err)
		}
	})
}

func TestReservePeer(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		small := chain()
		small.MaxPeers, small.InboundShare, small.NoPeerExchange = 1, 1, true
		a := nw.Add(small, quiet())
		first, second := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
		nw.Start()
		s := a.Service()
		if err := s.ConnectPeer(t.Context(), first.Addr()); err != nil {
			t.Fatal(err)
		}
		if err := s.ConnectPeer(t.Context(), second.Addr()); !errors.Is(err, netservice.ReasonTooManyPeers) {
			t.Fatalf("a peer too many: %v", err)
		}
		if err := s.ReservePeer("/ip4/5.0.0.1/tcp/1"); err == nil {
			t.Error("no peer is reserved")
		}
		if err := s.ReservePeer(second.Addr()); err != nil {
			t.Fatal(err)
		}
		a.WaitForPeers(2)
		second.Kill()
		time.Sleep(time.Minute)
		second.Restart()
		a.WaitForPeers(2) // it is dialled for ever
		for _, p := range s.Peers() {
			if p.Reserved != (p.ID == second.ID()) {
				t.Errorf("%s reserved: %t", p.ID, p.Reserved)
			}
		}
		if err := s.UnreservePeer(second.ID().String()); err != nil {
			t.Fatal(err)
		}
		if n := len(s.Peers()); n != 2 {
			t.Errorf("%d peers", n)
		}
		second.Stop()
		time.Sleep(time.Minute)
		second.Restart()
		time.Sleep(5 * time.Minute)
		if n := len(s.Peers()); n != 1 {
			t.Errorf("%d peers, one of them not reserved any more", n)
		}
	})
}

// What was remembered of a peer does not bind who names it.
func TestConnectPeerForgives(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		other := chain()
		other.ChainID = "other"
		a, b := nw.Add(other, quiet()), nw.Add(chain(), quiet())
		nw.Start()
		for range 2 {
			if err := b.Service().ConnectPeer(t.Context(), a.Addr()); !errors.Is(err, netservice.ReasonWrongChain) {
				t.Errorf("connect: %v", err)
			}
			time.Sleep(10 * time.Second)
		}
	})
}
