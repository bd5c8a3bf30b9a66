package netservice_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/p2p"
)

const someID = "12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj"

// Addresses that nobody can dial are a mistake of the Config, and those that
// somebody can are none.
func TestUndialableAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"/ip4/192.0.2.1/tcp/1":                                "",
		"/ip4/192.0.2.1/udp/1/quic-v1":                        "",
		"/ip6/2001:db8::1/tcp/1":                              "",
		"/dns4/node.example.org/tcp/1":                        "",
		"/dns/node.example.org/udp/1/quic-v1":                 "",
		"/dnsaddr/example.org":                                "",
		"/ip4/192.0.2.1/tcp/1/p2p/" + someID + "/p2p-circuit": "",
		"/ip4/192.0.2.1/tcp/0":                                "port 0",
		"/ip4/192.0.2.1":                                      "no port",
		"/dns4/node.example.org":                              "no port",
		"/ip4/224.0.0.1/tcp/1":                                "no host",
		"/ip4/0.0.0.0/tcp/1":                                  "no host",
		"/ip6/ff02::1/tcp/1":                                  "no host",
		"/ip4/255.255.255.255/udp/1/quic-v1":                  "no host",
		"/ip4/192.0.2.1/tcp/1/ws":                             "transport",
		"/ip4/192.0.2.1/udp/1":                                "transport",
		"/ip4/192.0.2.1/udp/1/quic-v1/webtransport":           "transport",
		"/memory/1":                                           "begins with",
		"/dnsaddr/example.org/tcp/1":                          "stands alone",
		"/ip4/192.0.2.1/tcp/1/p2p-circuit":                    "relay",
		"/ip4/192.0.2.1/tcp/0/p2p/" + someID + "/p2p-circuit": "port 0",
		"/ip4/192.0.2.1/tcp/1/p2p/" + someID + "/tcp/2":       "peer ID",
	} {
		cfg := relaying()
		check := func(field string) {
			t.Helper()
			err := cfg.Validate()
			if want == "" {
				if err != nil {
					t.Errorf("%s %s: %v", field, addr, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), field+"[0]: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, want %q", field, addr, err, want)
			}
		}
		cfg.Announce = []string{addr}
		check("Announce")
		cfg = relaying()
		cfg.Bootstrap = []string{addr + "/p2p/" + someID}
		check("Bootstrap")
		cfg = relaying()
		cfg.Static = []string{addr + "/p2p/" + someID}
		check("Static")
	}
}

func relaying() netservice.Config {
	cfg := chain()
	cfg.Reachability.RelayClient = true
	return cfg
}

// What the rest of the Config switches off cannot be dialled either.
func TestAddressesThatAreSwitchedOff(t *testing.T) {
	const quic = "/ip4/192.0.2.1/udp/1/quic-v1"
	const circuit = "/ip4/192.0.2.1/tcp/1/p2p/" + someID + "/p2p-circuit/p2p/12D3KooWF6nEPL4rNYoHN6Kfwyh3YVRSBEanhMMMhgmKxQBnKb7F"
	with := func(change func(*netservice.Config)) netservice.Config {
		cfg := chain()
		cfg.PSKFile = "swarm.key"
		change(&cfg)
		return cfg
	}
	for name, tc := range map[string]struct {
		cfg  netservice.Config
		want string
	}{
		"QUIC announced with a PSK": {with(func(c *netservice.Config) { c.Announce = []string{quic} }), "PSKFile"},
		"QUIC dialled with a PSK":   {with(func(c *netservice.Config) { c.Bootstrap = []string{quic + "/p2p/" + someID} }), "PSKFile"},
		"QUIC without":              {with(func(c *netservice.Config) { c.Bootstrap, c.PSKFile = []string{quic + "/p2p/" + someID}, "" }), ""},
		"a relay, not used":         {with(func(c *netservice.Config) { c.Static = []string{circuit} }), "RelayClient"},
		"a relay":                   {with(func(c *netservice.Config) { c.Static, c.Reachability.RelayClient = []string{circuit}, true }), ""},
		"a tunnel's peer": {with(func(c *netservice.Config) {
			c.Tunnels = []p2p.Tunnel{{Protocol: "/x/a", Bind: "/ip4/127.0.0.1/tcp/1", Peer: "/ip4/192.0.2.1/tcp/1/ws/p2p/" + someID}}
		}), "Tunnels[0]: /ip4/192.0.2.1/tcp/1/ws"},
		"a relay service": {with(func(c *netservice.Config) { c.Static, c.Reachability.RelayService = []string{circuit}, true }), ""},
	} {
		switch err := tc.cfg.Validate(); {
		case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Announce may end with this node's own ID, and with no other.
func TestAnnounceOfAnotherNode(t *testing.T) {
	cfg := chain()
	cfg.Listen = []string{netservice.ListenNowhere}
	cfg.Announce = []string{"/ip4/192.0.2.1/tcp/1/p2p/" + someID}
	_, err := netservice.NewNebService(cfg, quiet())
	if ce, ok := errors.AsType[*netservice.ConfigError](err); !ok || ce.Field != "Announce[0]" {
		t.Errorf("%v", err)
	}
}

func TestPeerConfigMistakes(t *testing.T) {
	for field, change := range map[string]func(*netservice.Config){
		"Bootstrap[0]":               func(c *netservice.Config) { c.Bootstrap = []string{"/ip4/5.0.1.1/tcp/1"} },
		"Static":                     func(c *netservice.Config) { c.Static = []string{"/p2p/" + someID} },
		"OutboundPeers":              func(c *netservice.Config) { c.OutboundPeers = 51 },
		"Discovery.KademliaMode":     func(c *netservice.Config) { c.Discovery.KademliaMode = "maybe" },
		"Discovery.KademliaPrefix":   func(c *netservice.Config) { c.Discovery.KademliaPrefix = "ipfs" },
		"Reachability.HolePunching":  func(c *netservice.Config) { c.Reachability.HolePunching = true },
		"Reachability.Relays":        func(c *netservice.Config) { c.Reachability.Relays = []string{"/ip4/192.0.2.1/tcp/1/p2p/" + someID} },
		"Discovery.KademliaPeers[0]": func(c *netservice.Config) { c.Discovery.KademliaPeers = []string{"x"} },
	} {
		cfg := chain()
		change(&cfg)
		if ce, ok := errors.AsType[*netservice.ConfigError](cfg.Validate()); !ok || ce.Field != field {
			t.Errorf("%s: %v", field, cfg.Validate())
		}
	}
}
