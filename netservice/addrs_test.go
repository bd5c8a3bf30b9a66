package netservice_test

import (
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
)

// Addrs has addresses and nothing else: an ID alone is none.
func TestAddrsAreAddresses(t *testing.T) {
	nowhere := start(t, netservice.Config{ChainID: "test", Listen: []string{netservice.ListenNowhere}})
	if a := nowhere.Node().Addrs(); len(a) != 0 {
		t.Errorf("listens nowhere, at %v", a)
	}
	s, err := netservice.NewNebService(netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	count := func(when string, want int) {
		if a := s.Node().Addrs(); len(a) != want {
			t.Errorf("%s: %v", when, a)
		}
	}
	count("before Start", 0)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	count("running", 1)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	count("after Stop", 0)
}
