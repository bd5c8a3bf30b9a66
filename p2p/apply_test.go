package p2p

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/peer"
	"gopkg.in/yaml.v3"

	"github.com/go-nebnet/nebnet/listener"
)

func TestApply(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		target := echoService(t)
		services := []Tunnel{
			{Protocol: "/x/one", Target: target.String()},
			{Protocol: "/x/two", Target: target.String(), Admit: []string{dial.self.String()}, IdleTimeout: Duration(time.Hour)},
		}
		if err := serve.Apply(t.Context(), services); err != nil {
			t.Fatal(err)
		}
		peerAddr := serve.host.Addrs()[0].String() + "/p2p/" + serve.self.String()
		tunnels := []Tunnel{
			{Protocol: "/x/one", Bind: loopback, Peer: peerAddr},
			{Protocol: "/x/two", Bind: loopback, Peer: serve.self.String()},
		}
		if err := dial.Apply(t.Context(), tunnels); err != nil {
			t.Fatal(err)
		}
		first := dial.Listeners.List()
		one, two := connectInfo(t, &first[0]), connectInfo(t, &first[1])
		mustEcho(t, one, "one")
		mustEcho(t, two, "two")

		// What stays is left alone, what goes is closed.
		if err := dial.Apply(t.Context(), tunnels[:1]); err != nil {
			t.Fatal(err)
		}
		mustEcho(t, one, "one goes on")
		wantReset(t, two)
		if l := dial.Listeners.List(); len(l) != 1 || l[0].ID != first[0].ID {
			t.Errorf("listeners %v", l)
		}

		// One that cannot start does not keep others from it.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		taken := Tunnel{Protocol: "/x/two", Bind: multiaddr(t, ln.Addr()).String(), Peer: peerAddr}
		err = dial.Apply(t.Context(), []Tunnel{taken, tunnels[0], tunnels[1]})
		var te *TunnelError
		if !errors.As(err, &te) || te.Index != 0 {
			t.Errorf("Apply: %v", err)
		}
		if n := len(dial.Listeners.List()); n != 2 {
			t.Errorf("%d listeners", n)
		}

		// One that was closed by hand is started again.
		dial.Listeners.Close(listener.ByProtocol("/x/one"))
		if err := dial.Apply(t.Context(), tunnels); err != nil {
			t.Fatal(err)
		}
		if n := len(dial.Listeners.List()); n != 2 {
			t.Errorf("%d listeners", n)
		}
		// An invalid list changes nothing.
		if err := dial.Apply(t.Context(), []Tunnel{{}}); err == nil || len(dial.Listeners.List()) != 2 {
			t.Errorf("Apply: %v", err)
		}
		if err := dial.Apply(t.Context(), nil); err != nil || len(dial.Listeners.List()) != 0 {
			t.Errorf("Apply of nothing: %v", err)
		}
	})
}

func TestConfiguredTargetsAreLoopbackUnlessAllowed(t *testing.T) {
	p := newTunnels(t, newHost(t, transports[0]))
	tunnel := Tunnel{Protocol: web, Target: "/ip4/10.0.0.1/tcp/80"}
	wantErr(t, p.Apply(t.Context(), []Tunnel{tunnel}), ErrTargetDenied)
	tunnel.AllowTargets = []string{"10.0.0.0/8"}
	if err := p.Apply(t.Context(), []Tunnel{tunnel}); err != nil {
		t.Error(err)
	}
	tunnel = Tunnel{Protocol: "/x/unix", Target: "/unix/tmp/x.sock"}
	wantErr(t, p.Apply(t.Context(), []Tunnel{tunnel}), ErrTargetDenied)
	tunnel.AllowTargets = []string{"/tmp/x.sock"}
	if err := p.Apply(t.Context(), []Tunnel{tunnel}); err != nil {
		t.Error(err)
	}
}

func TestTunnelValidate(t *testing.T) {
	const id = "12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb"
	for _, tc := range []struct {
		tunnel Tunnel
		wrong  []string // fields
	}{
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80"}, nil},
		{Tunnel{Protocol: web, Bind: loopback, Peer: id}, nil},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/dns4/example.org/tcp/1/p2p/" + id}, nil},
		{Tunnel{Protocol: "/y", CustomProtocol: true, Target: "/dns/localhost/tcp/80"}, nil},
		{Tunnel{}, []string{"protocol", "bind"}},
		{Tunnel{Protocol: "web", Bind: "127.0.0.1:80", Peer: "you"}, []string{"protocol", "bind", "peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/192.0.2.1/tcp/0/p2p/" + id}, []string{"peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/192.0.2.1/p2p/" + id}, []string{"peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip6/ff02::1/tcp/1/p2p/" + id}, []string{"peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/0.0.0.0/udp/1/quic-v1/p2p/" + id}, []string{"peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/192.0.2.1/tcp/1/p2p/" + id + "/p2p/" + id}, []string{"peer"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/192.0.2.1/tcp/1/ws/p2p/" + id}, nil},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip4/192.0.2.1/tcp/1/p2p/" + id + "/p2p-circuit/p2p/" + id}, nil},
		{Tunnel{Protocol: web, Bind: loopback, Peer: id, Target: loopback}, []string{"target"}},
		{Tunnel{Protocol: web, Bind: loopback, Peer: id, Admit: []string{id}}, []string{"bind"}},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/udp/80", Admit: []string{"me"}, AllowTargets: []string{"10"}, ReportPeer: "no", Peer: id},
			[]string{"target", "admit", "allow_targets", "report_peer"}},
		{Tunnel{Protocol: web, Target: loopback, MaxStreams: -1, MaxStreamsPerPeer: -1, IdleTimeout: -1, DialTimeout: -1},
			[]string{"target", "max_streams", "max_streams_per_peer", "idle_timeout", "dial_timeout"}},
	} {
		err := tc.tunnel.Validate()
		if (err == nil) != (len(tc.wrong) == 0) {
			t.Errorf("%+v: %v", tc.tunnel, err)
		}
		for _, field := range tc.wrong {
			if err != nil && !strings.Contains("\n"+err.Error(), "\n"+field+": ") {
				t.Errorf("%+v: %v does not name %s", tc.tunnel, err, field)
			}
		}
	}
	same := []Tunnel{{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80"}, {Protocol: web, Target: "/ip4/127.0.0.1/tcp/81"}}
	if err := ValidateTunnels(same); err == nil {
		t.Error("one protocol twice passes")
	}
	same = []Tunnel{{Protocol: web, Bind: loopback, Peer: id}, {Protocol: web, Bind: loopback, Peer: id, MaxStreams: 1}}
	if err := ValidateTunnels(same); err != nil {
		t.Errorf("free ports collide: %v", err)
	}
}

// A path that the system refuses as an "invalid argument" is refused at once, with its
// length and the limit.
func TestUnixPathTooLong(t *testing.T) {
	path := func(n int) string { return "/unix/" + strings.Repeat("x", n-1) } // with the slash
	for n, ok := range map[int]bool{maxUnixPath: true, maxUnixPath + 1: false} {
		for _, tunnel := range []Tunnel{
			{Protocol: web, Target: path(n)},
			{Protocol: web, Bind: path(n), Peer: "12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb"},
		} {
			err := tunnel.Validate()
			if (err == nil) != ok {
				t.Errorf("%d bytes: %v", n, err)
			}
			if !ok && (!errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), fmt.Sprintf("too long: %d bytes, at most %d", n, maxUnixPath))) {
				t.Errorf("%v", err)
			}
		}
	}
}

// A tunnel that is only spelt differently in a reload runs on.
func TestApplyComparesMeaning(t *testing.T) {
	id, err := peer.Decode("12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb")
	if err != nil {
		t.Fatal(err)
	}
	other, err := peer.Decode("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
	if err != nil {
		t.Fatal(err)
	}
	cid := func(id peer.ID) string { return peer.ToCid(id).String() }
	p := newTunnels(t, newHost(t, transports[0]))
	for _, tc := range []struct {
		a, b Tunnel
		same bool
	}{
		{Tunnel{Protocol: web, Bind: loopback, Peer: id.String()}, Tunnel{Protocol: web, Bind: loopback + "/", Peer: cid(id)}, true},
		{Tunnel{Protocol: web, Bind: loopback, Peer: "/ip6/::1/tcp/1/p2p/" + id.String()},
			Tunnel{Protocol: web, Bind: loopback, Peer: "/ip6/0:0:0:0:0:0:0:1/tcp/1/ipfs/" + id.String() + "/"}, true},
		{Tunnel{Protocol: web, Bind: loopback, Peer: id.String()}, Tunnel{Protocol: web, Bind: loopback, Peer: other.String()}, false},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{id.String(), other.String()}},
			Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{cid(other), id.String(), id.String()}}, true},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{id.String()}},
			Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80"}, false},
		{Tunnel{Protocol: web, Target: "/unix/tmp//x.sock", AllowTargets: []string{"10.1.0.0/8", "/tmp/x.sock"}},
			Tunnel{Protocol: web, Target: "/unix/tmp/x.sock", AllowTargets: []string{"/tmp/../tmp/x.sock", "10.0.0.0/8"}}, true},
		{Tunnel{Protocol: web, Bind: loopback, Peer: id.String()},
			Tunnel{Protocol: web, CustomProtocol: true, Bind: loopback, Peer: id.String(), DialTimeout: Duration(30 * time.Second)}, true},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80"},
			Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/080", IdleTimeout: Duration(2 * time.Hour)}, true},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{id.String()}},
			Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{id.String()}, IdleTimeout: Duration(2 * time.Hour)}, false},
		{Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", MaxStreams: 1}, Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", MaxStreams: 2}, false},
	} {
		var keys [2]string
		for i, tunnel := range []Tunnel{tc.a, tc.b} {
			parsed, err := tunnel.parse()
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = p.key(tunnel, parsed)
		}
		if (keys[0] == keys[1]) != tc.same {
			t.Errorf("%s and %s: the same is %v", keys[0], keys[1], !tc.same)
		}
	}
	if err := p.Apply(t.Context(), []Tunnel{{Protocol: web, Bind: loopback, Peer: id.String()}}); err != nil {
		t.Fatal(err)
	}
	before := p.Listeners.List()
	if err := p.Apply(t.Context(), []Tunnel{{Protocol: web, Bind: loopback + "/", Peer: cid(id)}}); err != nil {
		t.Fatal(err)
	}
	if after := p.Listeners.List(); len(after) != 1 || after[0].ID != before[0].ID {
		t.Errorf("the tunnel was restarted: %v, %v", before, after)
	}
}

func TestTunnelFormats(t *testing.T) {
	want := Tunnel{Protocol: web, Target: "/ip4/127.0.0.1/tcp/80", Admit: []string{"a"}, MaxStreams: 3, IdleTimeout: Duration(90 * time.Second)}
	for name, f := range map[string]struct {
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
	}{
		"yaml": {yaml.Marshal, yaml.Unmarshal},
		"json": {json.Marshal, json.Unmarshal},
		"toml": {toml.Marshal, toml.Unmarshal},
	} {
		b, err := f.marshal(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got Tunnel
		if err := f.unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !strings.Contains(string(b), "1m30s") || strings.Contains(string(b), "peer") || strings.Contains(string(b), "dial") {
			t.Errorf("%s: %s", name, b)
		}
	}
}

func FuzzTunnelValidate(f *testing.F) {
	f.Add("/x/web", "/ip4/127.0.0.1/tcp/0", "12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb", "", "", int64(0))
	f.Add("/x/web", "", "", "/unix/tmp/x", "10.0.0.0/8", int64(-1))
	f.Add("", "/dns/a/tcp/1", "/p2p-circuit", "/", "/", int64(1))
	f.Fuzz(func(t *testing.T, proto, bind, peer, target, allow string, n int64) {
		tunnel := Tunnel{
			Protocol: proto, Bind: bind, Peer: peer, Target: target, AllowTargets: []string{allow},
			MaxStreams: int(n), IdleTimeout: Duration(n),
		}
		parsed, err := tunnel.parse()
		if err == nil && (parsed.bind == nil) == (parsed.target == nil) {
			t.Errorf("%+v is valid and %+v", tunnel, parsed)
		}
		_ = ValidateTunnels([]Tunnel{tunnel, tunnel})
	})
}
