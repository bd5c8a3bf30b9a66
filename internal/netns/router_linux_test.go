package netns

import (
	"fmt"
	"os/exec"
	"strings"
)

// router is a place that has a private network behind it, and hides it: what comes
// from outside gets in only as an answer, or where a port is forwarded.
type router struct {
	*place
	outside string // its public address
}

// nat is how a router chooses the outside port of a connection.
type nat string

const (
	// cone keeps the inside port, whoever is talked to: what one peer sees, another
	// can use.
	cone nat = "masquerade"
	// symmetric takes another port for each connection.
	symmetric nat = "masquerade random,fully-random"
)

// rules are what a home router does. New packets from outside are dropped before
// the router answers them: its answer would take the port of the connection that
// is about to come from inside.
const rules = `
table ip home {
	chain forwarded {
		type nat hook prerouting priority dstnat;
	}
	chain hidden {
		type nat hook postrouting priority srcnat;
		oifname "eth0" %s
	}
	chain through {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan" accept
		ct status dnat accept
	}
	chain own {
		type filter hook input priority filter;
		iifname "eth0" ct state new drop
	}
}
`

// router makes a router with a public address. Where the nft command or the
// kernel's part of it is missing, the test is skipped and says so.
func (w *world) router(ip string, kind nat) *router {
	w.t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		w.t.Skipf("address translation needs the nft command (Debian's package nftables): %v", err)
	}
	r := &router{place: w.add(ip), outside: ip}
	w.ip("netns", "exec", r.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	cmd := exec.Command("ip", "netns", "exec", r.name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(rules, kind))
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Skipf("this kernel translates no addresses: %v: %s", err, out)
	}
	return r
}

// wall lets nothing from behind the router through to an address, until it is lifted.
func (r *router) wall(to string) (lift func()) {
	nft := func(rule string) {
		r.w.t.Helper()
		cmd := exec.Command("ip", "netns", "exec", r.name, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rule)
		if out, err := cmd.CombinedOutput(); err != nil {
			r.w.t.Fatalf("nft: %v: %s", err, out)
		}
	}
	nft(fmt.Sprintf("table ip wall {\nchain out {\ntype filter hook forward priority -10;\nip daddr %s drop\n}\n}\n", to))
	return func() { nft("delete table ip wall") }
}

// behind makes the place behind a router, which has the address 192.168.net.2.
func (r *router) behind(net int) *place {
	w := r.w
	w.places++
	p := w.cabled(r.name, fmt.Sprintf("port%d", w.places))
	w.ip("-n", r.name, "link", "set", p.port, "down")
	w.ip("-n", r.name, "link", "set", p.port, "name", "lan")
	p.port = "lan"
	w.ip("-n", r.name, "link", "set", "lan", "up")
	w.ip("-n", r.name, "addr", "add", fmt.Sprintf("192.168.%d.1/24", net), "dev", "lan")
	w.ip("-n", p.name, "addr", "add", fmt.Sprintf("192.168.%d.2/24", net), "dev", "eth0")
	w.ip("-n", p.name, "route", "add", "default", "via", fmt.Sprintf("192.168.%d.1", net))
	return p
}
