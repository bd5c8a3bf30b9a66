package netservice

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/go-nebnet/nebnet/p2p"
)

func TestValidateReportsEveryMistake(t *testing.T) {
	err := Config{
		Genesis:        "xyz",
		Listen:         []string{"nowhere", "/ip4/127.0.0.1/tcp/1"},
		Announce:       []string{"bad"},
		Bootstrap:      []string{"/ip4/127.0.0.1/tcp/1"},
		Reserved:       []string{"/p2p"},
		Agent:          strings.Repeat("a", 129),
		Capabilities:   []string{"", strings.Repeat("c", 65)},
		MinVersion:     3,
		MaxVersion:     2,
		MaxPeers:       -1,
		InboundShare:   math.NaN(),
		GossipProfile:  "huge",
		MaxMessageSize: 1<<30 + 1,
		PeerQueueBytes: 1,
		DispatchQueue:  -1,
		Tunnels:        []p2p.Tunnel{{Protocol: "web"}, {Protocol: "/x/a", LimitedRelay: true}},
		PingTimeout:    Duration(time.Nanosecond),
	}.Validate()
	if err == nil {
		t.Fatal("a config full of mistakes is valid")
	}
	var fields []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		ce, ok := errors.AsType[*ConfigError](e)
		if !ok {
			t.Fatalf("%v is no *ConfigError", e)
		}
		fields = append(fields, ce.Field)
	}
	want := []string{
		"ChainID", "Genesis", "Agent", "Capabilities[0]", "Capabilities[1]", "MaxVersion", "Listen[0]",
		"Announce[0]", "Bootstrap[0]", "Reserved[0]", "MaxPeers", "InboundShare", "GossipProfile", "MaxMessageSize",
		"PeerQueueBytes", "DispatchQueue", "Tunnels[0]", "Tunnels[1]", "PingTimeout",
	}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("fields at fault (-want +got):\n%s", d)
	}
}

// What libp2p could not use is found before anything is opened.
func TestValidateKnowsWhatCanBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg   Config
		field string
	}{
		"chain ID":         {Config{ChainID: "\xff"}, "ChainID"},
		"UDP without QUIC": {Config{ChainID: "c", Listen: []string{"/ip4/127.0.0.1/udp/1"}}, "Listen"},
		"twice":            {Config{ChainID: "c", Listen: []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"}}, "Listen"},
		"filtered":         {Config{ChainID: "c", PublicOnly: true, Announce: []string{"/ip4/10.0.0.1/tcp/1"}}, "Announce"},
	} {
		for _, err := range []error{tc.cfg.Validate(), func() error { _, err := NewNebService(tc.cfg); return err }()} {
			if e, ok := errors.AsType[*ConfigError](err); !ok || e.Field != tc.field {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A peer that could never be dialled is a mistake; one with an address that could,
// in whichever list, is none, and neither is one of which no address is known.
func TestValidateFindsPeersThatAreNotDialled(t *testing.T) {
	const id = "/p2p/12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj"
	const private, public = "/ip4/10.0.0.1/tcp/1" + id, "/ip4/8.8.8.8/tcp/1" + id
	for name, tc := range map[string]struct {
		cfg    Config
		fields []string
	}{
		"private":          {Config{PublicOnly: true, Bootstrap: []string{private, "/ip6/::1/udp/1/quic-v1" + id}}, []string{"Bootstrap"}},
		"reserved":         {Config{PublicOnly: true, Reserved: []string{"/ip4/127.0.0.1/tcp/1" + id}}, []string{"Reserved"}},
		"both":             {Config{PublicOnly: true, Bootstrap: []string{private}, Reserved: []string{private}}, []string{"Bootstrap", "Reserved"}},
		"unspecified":      {Config{Bootstrap: []string{"/ip4/0.0.0.0/tcp/1" + id}}, []string{"Bootstrap[0]"}},
		"not PublicOnly":   {Config{Bootstrap: []string{private}, Reserved: []string{private}}, nil},
		"one public":       {Config{PublicOnly: true, Bootstrap: []string{private, public}}, nil},
		"public elsewhere": {Config{PublicOnly: true, Bootstrap: []string{private}, Reserved: []string{public}}, nil},
		"name":             {Config{PublicOnly: true, Bootstrap: []string{"/dnsaddr/boot.example" + id}, Reserved: []string{"/dns4/localhost/tcp/1" + id}}, nil},
		"no address":       {Config{PublicOnly: true, Reserved: []string{id}}, nil},
	} {
		tc.cfg.ChainID = "c"
		var fields []string
		for _, err := range split(tc.cfg.Validate()) {
			e, ok := errors.AsType[*ConfigError](err)
			if !ok {
				t.Fatalf("%s: %v", name, err)
			}
			fields = append(fields, e.Field)
		}
		if d := cmp.Diff(tc.fields, fields); d != "" {
			t.Errorf("%s: fields at fault (-want +got):\n%s", name, d)
		}
	}
}

// With a transport of the program's, the form of an address is its business; all
// else is checked as ever.
func TestTransportLeavesAddressesChecked(t *testing.T) {
	const id = "12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj"
	transport := WithTransport(func() {})
	for name, tc := range map[string]struct {
		cfg   Config
		field string
	}{
		"form":             {Config{ChainID: "c", Listen: []string{"/memory/7", "/ip4/127.0.0.1/udp/1"}}, ""},
		"twice":            {Config{ChainID: "c", Listen: []string{"/memory/7", "/memory/7"}}, "Listen"},
		"nonsense":         {Config{ChainID: "c", Listen: []string{"memory"}}, "Listen[0]"},
		"filtered":         {Config{ChainID: "c", PublicOnly: true, Announce: []string{"/ip4/10.0.0.1/tcp/1"}}, "Announce"},
		"boot, no peer":    {Config{ChainID: "c", Bootstrap: []string{"/memory/7"}}, "Bootstrap[0]"},
		"boot, no address": {Config{ChainID: "c", Bootstrap: []string{"/p2p/" + id}}, "Bootstrap"},
		"boot":             {Config{ChainID: "c", Bootstrap: []string{"/memory/7/p2p/" + id}}, ""},
	} {
		_, err := NewNebService(tc.cfg, transport)
		if e, ok := errors.AsType[*ConfigError](err); err != nil && !ok || (e == nil) != (tc.field == "") || e != nil && e.Field != tc.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The service keeps nothing of what the program may change.
func TestConfigIsCopied(t *testing.T) {
	cfg := Config{
		ChainID: "c", Listen: []string{ListenNowhere}, Capabilities: []string{"light"},
		Tunnels: []p2p.Tunnel{{Protocol: "/x/a", Target: "/ip4/127.0.0.1/tcp/1", AllowTargets: []string{"127.0.0.0/8"}}},
	}
	s, err := NewNebService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen[0], cfg.Capabilities[0], cfg.Tunnels[0].AllowTargets[0] = "x", "x", "x"
	cfg.Tunnels[0].Protocol = "x"
	c := s.cfg
	if c.Listen[0] != ListenNowhere || c.Capabilities[0] != "light" || c.Tunnels[0].Protocol != "/x/a" || c.Tunnels[0].AllowTargets[0] != "127.0.0.0/8" {
		t.Errorf("%+v", c)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func TestValidateAcceptsTheLeast(t *testing.T) {
	if err := (Config{ChainID: "c"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPSKExcludesQUIC(t *testing.T) {
	c := Config{ChainID: "c", PSKFile: "psk", Listen: []string{"/ip4/127.0.0.1/udp/1/quic-v1"}}
	ce, ok := errors.AsType[*ConfigError](c.Validate())
	if !ok || ce.Field != "Listen[0]" {
		t.Errorf("got %v", ce)
	}
	if d := cmp.Diff([]string{"/ip4/0.0.0.0/tcp/8680"}, Config{PSKFile: "psk"}.withDefaults().Listen); d != "" {
		t.Errorf("default with a private network (-want +got):\n%s", d)
	}
}

func TestDefaults(t *testing.T) {
	got := Config{ChainID: "c"}.withDefaults()
	if !strings.HasPrefix(got.Agent, "nebnet/") {
		t.Errorf("agent %q", got.Agent)
	}
	got.Agent = ""
	want := Config{
		ChainID: "c", Listen: []string{"/ip4/0.0.0.0/tcp/8680", "/ip4/0.0.0.0/udp/8680/quic-v1"},
		MinVersion: 1, MaxVersion: 1, MaxPeers: 50, InboundShare: 0.75,
		GossipProfile: "small-network", MaxMessageSize: 4 << 20, PeerQueueBytes: 16 << 20, DispatchQueue: 65536,
		HandshakeTimeout: Duration(10 * time.Second), PingInterval: Duration(3 * time.Second),
		PingTimeout: Duration(5 * time.Second), ShutdownTimeout: Duration(10 * time.Second),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
}

// The default configuration is a sample: every field is in it, under one name in
// all formats, and what is written is read again as the same.
func TestDefaultConfigIsASample(t *testing.T) {
	c := DefaultConfig()
	c.ChainID = "c"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, c.withDefaults()); d != "" {
		t.Errorf("a default is missing:\n%s", d)
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[p2p.Tunnel]()} {
		for f := range typ.Fields() {
			name := f.Tag.Get("mapstructure")
			for _, format := range []string{"yaml", "json", "toml"} {
				if tag, _, _ := strings.Cut(f.Tag.Get(format), ","); tag != name || name == "" {
					t.Errorf("%s.%s is %q in %s, %q for mapstructure", typ.Name(), f.Name, tag, format, name)
				}
			}
			if _, ok := all[name]; !ok && typ == reflect.TypeFor[Config]() {
				t.Errorf("%s is not in the sample", name)
			}
		}
	}
	var again Config
	if err := yaml.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, again); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// A config reads the same from each of the three formats.
func TestConfigFormats(t *testing.T) {
	want := Config{
		ChainID: "c", Genesis: "0x0102", DataDir: "d", InsecureKey: true, Listen: []string{"a", "b"}, Bootstrap: []string{"x"},
		Tunnels:    []p2p.Tunnel{{Protocol: "/x/web", Target: "/ip4/127.0.0.1/tcp/80", IdleTimeout: p2p.Duration(time.Minute)}},
		MinVersion: 2, MaxPeers: 7, InboundShare: 0.5, PingInterval: Duration(1500 * time.Millisecond),
	}
	formats := map[string]struct {
		write func(any) ([]byte, error)
		read  func([]byte, any) error
	}{
		"yaml": {yaml.Marshal, yaml.Unmarshal},
		"json": {json.Marshal, json.Unmarshal},
		"toml": {toml.Marshal, toml.Unmarshal},
	}
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			b, err := f.write(want)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"1.5s", "ping_interval", "insecure_key"} {
				if !strings.Contains(string(b), part) {
					t.Errorf("no %s in what is written:\n%s", part, b)
				}
			}
			var got Config
			if err := f.read(b, &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(normal(want), normal(got)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	var c Config
	if err := json.Unmarshal([]byte(`{"ping_interval":"soon"}`), &c); err == nil {
		t.Error("a wrong duration was read")
	}
}

// normal forgets the difference between no list and an empty one.
func normal(c Config) Config {
	for _, l := range []*[]string{&c.Listen, &c.Announce, &c.Bootstrap, &c.Reserved, &c.Static, &c.Capabilities, &c.Discovery.KademliaPeers, &c.Reachability.Relays} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	if len(c.Tunnels) == 0 {
		c.Tunnels = nil
	}
	return c
}

func TestGenesisForms(t *testing.T) {
	for _, s := range []string{"0aff", "0x0aff", "0X0AFF"} {
		if b, err := parseGenesis(s); err != nil || len(b) != 2 || b[1] != 0xff {
			t.Errorf("%q: %x, %v", s, b, err)
		}
	}
	for _, s := range []string{"0", "x", "0x0"} {
		if _, err := parseGenesis(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

func TestPeerAddressesAreMerged(t *testing.T) {
	const id = "/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	p, err := Config{ChainID: "c", Bootstrap: []string{"/ip4/1.2.3.4/tcp/1" + id, "/dns4/boot.example/udp/2/quic-v1" + id}}.withDefaults().parse()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.bootstrap) != 1 || len(p.bootstrap[0].Addrs) != 2 {
		t.Errorf("got %v", p.bootstrap)
	}
}
