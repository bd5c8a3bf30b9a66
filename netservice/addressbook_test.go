package netservice_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// The boot node is gone for good. A node that restarts, and a whole network that
// restarts at once, finds itself again by what it remembers.
func TestRestartWithoutBootNode(t *testing.T) {
	for name, down := range map[string][]int{"one": {1}, "all": {1, 2, 3, 4, 5, 6, 7}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				boot := nw.Add(chain(), quiet())
				for range 7 {
					nw.Add(booted(boot), quiet())
				}
				nw.Start()
				for _, nd := range nw.Nodes() {
					nd.WaitForPeers(7)
				}
				time.Sleep(time.Minute) // a crash loses what is not saved
				boot.Crash()
				for _, i := range down {
					nw.Nodes()[i].Crash()
				}
				time.Sleep(time.Minute)
				for _, i := range down {
					nw.Nodes()[i].Restart()
				}
				time.Sleep(time.Minute)
				for i, nd := range nw.Nodes()[1:] {
					if n := len(nd.Service().Peers()); n != 6 {
						t.Errorf("node %d has %d peers", i+1, n)
					}
				}
			})
		})
	}
}

// With a DataDir the peers are in a file there, and so are the bans.
func TestBookInDataDir(t *testing.T) {
	cfg := chain()
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	start := func(dir string, boot ...string) *netservice.NebService {
		t.Helper()
		c := cfg
		c.DataDir, c.Bootstrap = dir, boot
		s, err := netservice.NewNebService(c, quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		return s
	}
	a, dir := start(""), t.TempDir()
	addr := a.Node().Addrs()[0].String()
	b := start(dir, addr)
	testkit.Eventually(t, "a peer", func() bool { return len(b.Peers()) == 1 })
	const stranger = "12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj"
	if err := b.BanPeer(stranger, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "peers.book")); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", st, err)
	}
	b = start(dir) // nobody is named
	testkit.Eventually(t, "the peer of the last run", func() bool { return len(b.Peers()) == 1 })
	if err := b.ConnectPeer(t.Context(), "/ip4/127.0.0.1/tcp/1/p2p/"+stranger); !errors.Is(err, netservice.ReasonBanned) {
		t.Errorf("the ban of the last run: %v", err)
	}
}
