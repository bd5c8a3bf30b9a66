package netservice_test

import (
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// A boot node is found by a name that does not tell its ID, over each transport; a
// node that finds itself there, or nobody, goes on without.
func TestBootNameWithoutID(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(strings.Split(listen, "/")[3], func(t *testing.T) {
			boot := looped(t, func(c *netservice.Config) { c.Listen = []string{listen} })
			at := boot.Node().Host().Addrs()[0].String()
			name := strings.Replace(at, "/ip4/127.0.0.1/", "/dns4/localhost/", 1)
			s := looped(t, func(c *netservice.Config) { c.Bootstrap = []string{"/dns4/localhost/tcp/1", name} })
			testkit.Eventually(t, "a session with the boot node", func() bool {
				return len(s.Peers()) == 1 && s.Peers()[0].ID == boot.Node().ID()
			})
			w, err := s.Why(boot.Node().ID().String())
			if err != nil || w.Source != "dns" {
				t.Errorf("known by %q: %v", w.Source, err)
			}
		})
	}
}
