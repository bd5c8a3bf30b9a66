package netservice_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A node whose file puts all others in one autonomous system takes its share of them and
// says so; once a reload has read that they are in none, it has them all.
func TestASNFile(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		path := filepath.Join(t.TempDir(), "asn")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("5.0.0.0/8 AS7\n")
		boot := nw.Add(chain(), quiet())
		for range 4 {
			nw.Add(booted(boot), quiet())
		}
		cfg := booted(boot)
		cfg.MaxPeers, cfg.OutboundPeers, cfg.InboundShare, cfg.ASNFile = 5, 5, -1, path
		me := nw.Add(cfg, quiet())
		nw.Start()
		s := me.Service()
		time.Sleep(2 * time.Minute)
		if n := len(s.Peers()); n != 2 {
			t.Errorf("%d peers are of one system, want 2", n)
		}
		told := 0
		for _, other := range nw.Nodes() {
			w, err := s.Why(other.ID().String())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(w.Reason, "2 peers of its autonomous system AS7") {
				told++
			}
		}
		if told == 0 {
			t.Error("nothing tells that the system has its share")
		}
		write("5.0.0.0/8 x\n")
		err := s.Reload(s.Config())
		if ce, ok := errors.AsType[*netservice.ConfigError](err); !ok || ce.Field != "ASNFile" {
			t.Errorf("a reload of a broken file: %v", err)
		}
		if _, err := netservice.NewNebService(cfg); err == nil {
			t.Error("a broken file is taken")
		}
		write("5.0.0.0/8 0\n")
		if err := s.Reload(s.Config()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(s.Peers()); n != 5 {
			t.Errorf("%d peers, 5 once they are in no system", n)
		}
	})
	cfg := chain()
	cfg.ASNFile = filepath.Join(t.TempDir(), "none")
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
