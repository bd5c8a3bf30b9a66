package netns

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// everywhere listens on all addresses, as a node at home does.
var everywhere = []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"}

// internet makes four public nodes that know each other, and returns the first with
// the QUIC addresses of all. A node behind a NAT takes four to be told its address.
func internet(w *world, change func(i int, c *netservice.Config)) (first *process, boot []string) {
	for i, ip := range []string{"21.0.0.1", "22.0.0.1", "21.1.0.1", "22.1.0.1"} {
		n, address := w.add(ip).service(func(c *netservice.Config) {
			c.Listen, c.Bootstrap = everywhere, slices.Clone(boot)
			change(i, c)
		})
		if first == nil {
			first = n
		}
		boot = append(boot, fmt.Sprintf("/ip4/%s/udp/4001/quic-v1/p2p/%s", ip, id(address)))
	}
	return first, boot
}

// id is the last part of an address.
func id(address string) string { return address[strings.LastIndex(address, "/")+1:] }

// Two nodes behind NATs that know the same boot nodes, of which one is a relay, find
// each other, have a session through the relay, and a direct one in its place when
// the NATs let it be. Nothing that was taken is lost meanwhile.
func TestTwoNATs(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	for kind, want := range map[nat]string{cone: "quic-v1", symmetric: "relay"} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			homes := []*place{w.router("20.0.0.1", kind).behind(1), w.router("23.0.0.1", kind).behind(2)}
			_, boot := internet(w, func(i int, c *netservice.Config) { c.Reachability.RelayService = i == 0 })
			// A punch that missed is tried again later and later: nodes that are started anew
			// have another chance sooner.
			for range 4 {
				if meet(t, homes, boot, want) {
					return
				}
			}
			t.Errorf("no session over %s", want)
		})
	}
}

// meet starts a node in each of two homes and tells whether their session comes to be
// over a transport.
func meet(t *testing.T, homes []*place, boot []string, want string) bool {
	t.Helper()
	nodes, ids := pair(homes, boot)
	tell := func() { nodes[0].Say("tell " + ids[1]) }
	came := true
	for i, n := range nodes {
		if !came {
			break
		}
		_, came = n.comes("the transport is "+want, 15*time.Second, func(r report) bool {
			tell()
			return r.Reach.State == "private" && r.Reach.Relayed > 0 && r.Peers[ids[1-i]] == want
		})
	}
	tell()
	told := nodes[0].report().Told
	if told == 0 {
		t.Error("nothing could be told")
	}
	nodes[1].until(fmt.Sprintf("%d notes are heard", told), 20*time.Second, func(r report) bool { return r.Heard == told })
	if !came {
		for _, n := range nodes {
			n.CloseInput()
			n.Exit()
		}
	}
	return came
}

// A punch that missed is tried again: two nodes that could not reach each other when
// they met have a direct session some time after they can.
func TestPunchIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.router("20.0.0.1", cone), w.router("23.0.0.1", cone)
	homes := []*place{one.behind(1), two.behind(2)}
	_, boot := internet(w, func(i int, c *netservice.Config) { c.Reachability.RelayService = i == 0 })
	lift := one.wall(two.outside)
	nodes, ids := pair(homes, boot)
	direct := func(r report) bool { return r.Peers[ids[1]] == "quic-v1" }
	// libp2p's own tries end within this: one dial and three punches of ten seconds.
	if r, came := nodes[0].comes("it is direct", 50*time.Second, direct); came || r.Peers[ids[1]] != "relay" {
		t.Fatalf("behind the wall they are connected by %q", r.Peers[ids[1]])
	}
	lift()
	nodes[0].until("it is direct", 5*time.Minute, direct)
	nodes[0].Say("tell " + ids[1])
	nodes[1].until("a note is heard", 20*time.Second, func(r report) bool { return r.Heard == 1 })
}

// pair starts a node in each of two homes, and waits until they are peers.
func pair(homes []*place, boot []string) (nodes []*process, ids []string) {
	for _, home := range homes {
		n, address := home.service(func(c *netservice.Config) {
			c.Listen, c.Bootstrap = everywhere, boot
			c.Reachability = netservice.Reachability{RelayClient: true, HolePunching: true, Relays: boot[:1]}
		})
		nodes, ids = append(nodes, n), append(ids, id(address))
	}
	for i, n := range nodes {
		for n.hear("connected", time.Minute) != ids[1-i] {
		}
	}
	return nodes, ids
}

// Nodes find out whether others can reach them.
func TestReachability(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := w.router("20.0.0.1", cone).behind(1)
	asks := func(c *netservice.Config) { c.Reachability.AutoNAT = true }
	public, boot := internet(w, func(_ int, c *netservice.Config) { asks(c) })
	private, _ := home.service(func(c *netservice.Config) {
		c.Listen, c.Bootstrap = everywhere, boot
		asks(c)
	})
	public.until("it is public", 2*time.Minute, func(r report) bool { return r.Reach.State == "public" && r.Reach.Public > 0 })
	private.until("it is private", 2*time.Minute, func(r report) bool { return r.Reach.State == "private" })
}

// A router that forwards ports when it is asked to by UPnP, or by NAT-PMP, lets others dial
// a node behind it, under the address that the node tells them.
func TestPortMapping(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]string{"UPnP": "igd", "NAT-PMP": "pmp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.router("20.0.0.1", cone)
			home := r.behind(1)
			device := r.run(part{Do: do, Gateway: gateway{Inside: "192.168.1.1", Outside: r.outside}})
			device.hear("ready", 10*time.Second)
			n, address := home.service(func(c *netservice.Config) {
				c.Listen, c.Reachability.PortMapping = everywhere, true
			})
			t.Logf("forwarded %s", device.hear("forwarded", time.Minute))
			mapped := ""
			n.until("it tells a mapped address", 30*time.Second, func(r report) bool {
				for _, a := range r.Reach.Addrs {
					if strings.HasPrefix(a, "/ip4/20.0.0.1/") {
						mapped = a
					}
				}
				return mapped != "" && r.Reach.Mapped > 0 && r.Reach.Public == r.Reach.Mapped
			})
			other, _ := w.add(honestAddr).service(func(c *netservice.Config) { c.Listen = []string{tcpAt(honestAddr)} })
			other.Say("connect " + mapped + "/p2p/" + id(address))
			n.hear("connected", 20*time.Second)
			other.Say("tell " + id(address))
			n.until("a note is heard", 20*time.Second, func(r report) bool { return r.Heard == 1 })
		})
	}
}
