package netns

import (
	"testing"
	"time"
)

// Nodes on one network that know nobody find each other by multicast DNS.
func TestLAN(t *testing.T) {
	w := newWorld(t)
	var nodes []*process
	for _, ip := range []string{"10.9.0.1", "10.9.0.2"} {
		n := w.add(ip).run(part{Do: "node", Listen: tcpAt(ip), LAN: true})
		n.hear("address", 20*time.Second)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.hear("connected", 30*time.Second)
	}
}
