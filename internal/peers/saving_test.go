package peers

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// shelf is a Store in memory.
type shelf struct {
	mu    sync.Mutex
	raw   []byte
	fails error
	saves int
	aside []byte
}

func (s *shelf) Load() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw, nil
}

func (s *shelf) Save(raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.fails != nil {
		return s.fails
	}
	s.raw = raw
	return nil
}

func (s *shelf) SetAside() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside, s.raw = s.raw, nil
	return "elsewhere", nil
}

func (s *shelf) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// What is learned is saved while the node runs and when it is closed; the next
// run goes on with it, bans included.
func TestBookOutlivesTheRun(t *testing.T) {
	s := &shelf{}
	play(t, Config{Store: s}, succeed, func(t *testing.T, fx *fixture) {
		fx.learn(at(zoe))
		time.Sleep(saveSoon + time.Second)
		synctest.Wait()
		s.do(func() {
			if s.raw == nil {
				t.Error("not saved soon after a change")
			}
		})
		fx.Ban(alice, time.Hour, "a reason")
		fx.BanNetwork(netip.MustParsePrefix("192.0.2.7/24"), time.Hour, "")
	})
	play(t, Config{Store: s}, succeed, func(t *testing.T, fx *fixture) {
		time.Sleep(time.Second)
		if len(fx.dials(zoe)) != 1 || fx.live() != 1 {
			t.Errorf("%d dials of the peer of the last run", len(fx.dials(zoe)))
		}
		bans := fx.Bans()
		if len(bans) != 2 || bans[0].Reason+bans[1].Reason != "a reason" || fx.AllowDial(alice) {
			t.Errorf("bans: %+v", bans)
		}
		if fx.AllowAccept(at(peerN(1)).Addrs[0]) != true || fx.AllowAccept(info("", "/ip4/192.0.2.1/tcp/1").Addrs[0]) {
			t.Error("the ban of a network is lost")
		}
		s.do(func() { s.saves = 0 })
		time.Sleep(24 * time.Hour)
		s.do(func() {
			if s.saves > 3 {
				t.Errorf("saved %d times in a day without a change", s.saves)
			}
		})
		i := fx.BookInfo()
		if i.Peers != 1 || i.Good != 1 || i.Error != nil {
			t.Errorf("%+v", i)
		}
	})
}

// A restart makes no peer blameless: what stood against it is saved soon, and a crash
// loses no more of it than of the rest.
func TestFaultsOutliveTheRun(t *testing.T) {
	s := &shelf{}
	var crashed []byte
	play(t, Config{Store: s}, nil, func(t *testing.T, fx *fixture) {
		fx.learn(at(zoe))
		time.Sleep(saveEvery + saveSoon)
		fx.Penalise(zoe, 60)
		time.Sleep(saveEvery + saveSoon)
		synctest.Wait()
		s.do(func() { crashed = s.raw })
	})
	s = &shelf{raw: crashed}
	play(t, Config{Store: s}, nil, func(t *testing.T, fx *fixture) {
		if got := fx.penalties(zoe); got < 55 || got > 60 {
			t.Errorf("penalties of %.1f stand, of 60", got)
		}
		fx.Penalise(zoe, 50)
		if fx.AllowDial(zoe) {
			t.Error("not banned for 110 penalties")
		}
	})
}

// Row 40: a node that cannot save says so, runs on, and saves when it can.
func TestBookCannotBeSaved(t *testing.T) {
	log, hook := test.NewNullLogger()
	o := obs.New(log, nil)
	s := &shelf{fails: errors.New("disk full"), raw: nil}
	play(t, Config{Store: s, Obs: o}, nil, func(t *testing.T, fx *fixture) {
		fx.learn(at(zoe))
		time.Sleep(time.Minute)
		synctest.Wait()
		if e := hook.LastEntry(); e == nil || e.Level != logrus.WarnLevel || o.Counter(obs.BookUnsaved).Count() == 0 || fx.BookInfo().Error == nil {
			t.Errorf("what is said: %v", e)
		}
		s.do(func() { s.fails = nil })
		time.Sleep(time.Minute)
		if i := fx.BookInfo(); i.Error != nil || i.Saved.IsZero() {
			t.Errorf("%+v", i)
		}
	})
}

// Row 41: a corrupt book is set aside, and the node starts without.
func TestBookIsCorrupt(t *testing.T) {
	log, hook := test.NewNullLogger()
	s := &shelf{raw: []byte("nebbook\x01 and then something else entirely, which is long enough")}
	play(t, Config{Store: s, Obs: obs.New(log, nil)}, nil, func(t *testing.T, fx *fixture) {
		if e := hook.LastEntry(); e == nil || e.Level != logrus.WarnLevel || e.Data["kept_as"] != "elsewhere" {
			t.Errorf("what is said: %v", e)
		}
		if s.aside == nil || fx.book.Len() != 0 {
			t.Error("not set aside")
		}
	})
}

// Bans set before the start are joined with those of the last run.
func TestBanBeforeStart(t *testing.T) {
	s := &shelf{}
	play(t, Config{Store: s}, nil, func(t *testing.T, fx *fixture) { fx.Ban(alice, time.Hour, "") })
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Self: self, Store: s, Connect: func(context.Context, peer.AddrInfo) error { return errors.New("no route") }})
		if err != nil {
			t.Fatal(err)
		}
		m.Ban(zoe, time.Hour, "")
		m.Name(at(peerN(1)), RoleStatic)
		m.Start()
		defer m.Close()
		if len(m.Bans()) != 2 || !m.book.Get(peerN(1)).Kept {
			t.Errorf("%+v", m.Bans())
		}
	})
}

// Each ban by score is twice as long as the last; when it repeats on one address,
// that is banned too. The operator's peers are spared.
func TestBansGrow(t *testing.T) {
	from := info("", "/ip4/8.8.8.8/tcp/1").Addrs[0]
	play(t, Config{BanDuration: time.Hour}, nil, func(t *testing.T, fx *fixture) {
		enter := func(p string) bool {
			tk, r := fx.Admit(peer.ID(p), dirIn, 1, from)
			if r == none {
				fx.commit(tk)
			}
			return r == none
		}
		offend := func(p string) time.Duration {
			if !enter(p) {
				t.Fatalf("%s is not let in", p)
			}
			id := peer.ID(p)
			fx.Report(id, "spam", 60)
			fx.Report(id, "spam", 60)
			until, _ := fx.Banned(id)
			return time.Until(until)
		}
		if d := offend("a"); d != time.Hour {
			t.Errorf("first ban: %s", d)
		}
		time.Sleep(time.Hour)
		if d := offend("a"); d != 2*time.Hour {
			t.Errorf("second ban: %s", d)
		}
		offend("b")
		if enter("c") || fx.AllowAccept(from) {
			t.Error("the address is not banned after the third")
		}
		if n := len(fx.Bans()); n != 3 {
			t.Errorf("%d bans", n)
		}
		time.Sleep(time.Hour)
		if !enter("c") {
			t.Error("banned for ever")
		}
		for range 20 {
			fx.mu.Lock()
			after := fx.banLocked(alice, time.Hour, "", true)
			fx.mu.Unlock()
			run(after...)
		}
		if until, _ := fx.Banned(alice); time.Until(until) > MaxBanDuration {
			t.Errorf("banned for %s", time.Until(until))
		}
	})
}

func TestNetworkBan(t *testing.T) {
	net := netip.MustParsePrefix("8.8.8.0/24")
	from := info("", "/ip4/8.8.8.8/tcp/1").Addrs[0]
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		for _, p := range []book.Source{1, 2} {
			tk, _ := fx.Admit(peerN(int(p)), dirIn, 1, from)
			fx.commit(tk)
		}
		fx.name(info(peerN(1)), RoleReserved)
		fx.BanNetwork(net, time.Hour, "x")
		if fx.closedFor(peerN(2)) == none || fx.closedFor(peerN(1)) != none || fx.AllowAccept(from) {
			t.Error("who is there is left, or a reserved peer is not")
		}
		fx.UnbanNetwork(net)
		if !fx.AllowAccept(from) || len(fx.Bans()) != 0 {
			t.Error("the ban is not lifted")
		}
	})
}
