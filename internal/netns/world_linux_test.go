package netns

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// world is a bridge and the namespaces on it. All addresses lie in 20.0.0.0/6,
// which the limits take for public ones.
type world struct {
	t      *testing.T
	prefix string
	hub    string // the namespace that has the bridge
	places int
}

// place is a namespace with one cable, to the bridge or to a router.
type place struct {
	w    *world
	name string
	far  string // the namespace at the other end of the cable
	port string // that end
}

// newWorld makes a bridge, or skips the test and says why.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("NEBNET_NETNS") != "1" {
		t.Skip("makes network namespaces; runs with NEBNET_NETNS=1, as root")
	}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("network namespaces need the ip command: %v", err)
	}
	w := &world{t: t, prefix: fmt.Sprintf("nebnet-%08x-", rand.Uint32())}
	w.hub = w.namespace("hub")
	w.ip("-n", w.hub, "link", "add", "br0", "type", "bridge")
	w.ip("-n", w.hub, "link", "set", "br0", "up")
	return w
}

// namespace makes one that lasts as long as the test.
func (w *world) namespace(name string) string {
	name = w.prefix + name
	w.ip("netns", "add", name)
	w.t.Cleanup(func() { w.ip("netns", "del", name) })
	return name
}

// add makes a place with addresses.
func (w *world) add(addrs ...string) *place {
	w.places++
	p := w.cabled(w.hub, fmt.Sprintf("port%d", w.places))
	for _, a := range addrs {
		w.ip("-n", p.name, "addr", "add", a+"/6", "dev", "eth0")
	}
	p.plug()
	return p
}

// cabled makes a place that has a cable to a port of a namespace.
func (w *world) cabled(far, port string) *place {
	p := &place{w: w, far: far, port: port, name: w.namespace(port)}
	w.ip("-n", far, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", p.name)
	w.ip("-n", p.name, "link", "set", "lo", "up")
	w.ip("-n", p.name, "link", "set", "eth0", "up")
	w.ip("-n", far, "link", "set", port, "up")
	return p
}

// pull takes the cable out of the bridge. The place does not notice: its link
// stays up, and what it sends is lost.
func (p *place) pull() { p.w.ip("-n", p.far, "link", "set", p.port, "nomaster") }

func (p *place) plug() { p.w.ip("-n", p.far, "link", "set", p.port, "master", "br0") }

// unlink makes the place lose its carrier, as a cable pulled out of it does.
func (p *place) unlink() { p.w.ip("-n", p.far, "link", "set", p.port, "down") }

func (p *place) link() { p.w.ip("-n", p.far, "link", "set", p.port, "up") }

// move gives the place another address in place of the one that it has.
func (p *place) move(from, to string) {
	p.w.ip("-n", p.name, "addr", "del", from+"/6", "dev", "eth0") // first: it would take one of its own network along
	p.w.ip("-n", p.name, "addr", "add", to+"/6", "dev", "eth0")
}

func (w *world) ip(args ...string) {
	w.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
