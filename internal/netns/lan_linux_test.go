package netns

import (
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// Nodes on one network that know nobody find each other by multicast DNS.
func TestLAN(t *testing.T) {
	w := newWorld(t)
	var nodes []*process
	for _, ip := range []string{"10.9.0.1", "10.9.0.2"} {
		n, _ := w.add(ip).service(func(c *netservice.Config) {
			c.Listen, c.Discovery.MDNS = []string{tcpAt(ip)}, true
		})
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.hear("connected", 30*time.Second)
	}
}
