package p2p

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

func TestProtocolNames(t *testing.T) {
	h := newHost(t, transports[0])
	p := newTunnels(t, h)
	target := echoService(t)
	for _, bad := range []string{"", "/x/", "web", "/y/web", "/x/a\nb", "/x/" + strings.Repeat("a", 300), "/x/\xff"} {
		_, err := p.NewListener(t.Context(), bad, target)
		wantErr(t, err, ErrProtocolName)
		_, err = p.Dial(t.Context(), nil, "peer", bad, testkit.Addr(t, loopback))
		wantErr(t, err, ErrProtocolName)
	}
	if _, err := p.NewListener(t.Context(), "/y/web", target, WithCustomProtocols()); err != nil {
		t.Error(err)
	}
	if !p.CheckProtoExists("/y/web") || p.CheckProtoExists(web) {
		t.Error("CheckProtoExists is wrong")
	}
	_, err := p.NewListener(t.Context(), "/y/web", target, WithCustomProtocols())
	wantErr(t, err, ErrProtocolTaken)
	h.SetStreamHandler("/x/other", func(s network.Stream) { _ = s.Reset() })
	_, err = p.NewListener(t.Context(), "/x/other", target)
	wantErr(t, err, ErrProtocolTaken)
}

// Row 29: targets that are not allowed, seen on the resolved address.
func TestTargetRules(t *testing.T) {
	h := newHost(t, transports[0])
	p := newTunnels(t, h)
	for _, tc := range []struct {
		target string
		rule   TargetRule
		ok     bool
	}{
		{"/ip4/127.0.0.1/tcp/80", LoopbackOnly, true},
		{"/ip4/127.9.9.9/tcp/80", LoopbackOnly, true},
		{"/ip6/::1/tcp/80", LoopbackOnly, true},
		{"/ip6/::ffff:127.0.0.1/tcp/80", LoopbackOnly, true},
		{"/ip6/::ffff:10.0.0.1/tcp/80", LoopbackOnly, false},
		{"/ip4/0.0.0.0/tcp/80", LoopbackOnly, false},
		{"/ip6/::/tcp/80", LoopbackOnly, false},
		{"/ip4/169.254.169.254/tcp/80", LoopbackOnly, false},
		{"/ip4/10.0.0.1/tcp/80", LoopbackOnly, false},
		{"/ip6/fe80::1/tcp/80", LoopbackOnly, false},
		{"/unix/tmp/x.sock", LoopbackOnly, false},
		{"/unix/tmp/x.sock", AllowUnix("/tmp/x.sock"), true},
		{"/unix/tmp/../etc/x.sock", AllowUnix("/tmp/x.sock"), false},
		{"/ip4/10.1.2.3/tcp/80", AllowPrefixes(netip.MustParsePrefix("10.0.0.0/8")), true},
		{"/ip4/11.1.2.3/tcp/80", AllowPrefixes(netip.MustParsePrefix("10.0.0.0/8")), false},
		{"/ip6/::ffff:10.1.2.3/tcp/80", AllowPrefixes(netip.MustParsePrefix("10.0.0.0/8")), true},
		{"/ip6/::ffff:169.254.169.254/tcp/80", AllowPrefixes(netip.MustParsePrefix("::/0")), false}, // that is IPv4
		{"/ip6/::ffff:10.1.2.3/tcp/80", func(t Target) bool { return t.Addr.Addr().Is4() }, true},
		{"/ip4/127.0.0.1/tcp/80", AllowPrefixes(), false},
		{"/ip4/127.0.0.1/tcp/80", func(Target) bool { panic("rule") }, false},
	} {
		l, err := p.NewListener(t.Context(), web, testkit.Addr(t, tc.target), WithTargetRule(tc.rule))
		if tc.ok != (err == nil) || !tc.ok && !errors.Is(err, ErrTargetDenied) {
			t.Errorf("%s: %v", tc.target, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
	// A name is judged by what it resolves to, at each dial.
	if _, err := net.LookupHost("localhost"); err != nil {
		t.Skip("localhost does not resolve")
	}
	denyAll := func(Target) bool { return false }
	for _, name := range []string{"dns", "dns4"} {
		to, err := parseSocket(testkit.Addr(t, "/"+name+"/localhost/tcp/80"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.dialTarget(t.Context(), to, settings{allow: denyAll, dialTimeout: time.Second})
		wantErr(t, err, ErrTargetDenied)
	}
}

// An address says all of what it is: nothing of it is ignored.
func TestSocketAddresses(t *testing.T) {
	p := newTunnels(t, newHost(t, transports[0]))
	for text, want := range map[string]socketAddr{
		"/ip4/127.0.0.1/tcp/80":                        {"tcp4", "127.0.0.1:80"},
		"/ip6/::1/tcp/80":                              {"tcp6", "[::1]:80"},
		"/ip6zone/eth0/ip6/fe80::1/tcp/80":             {"tcp6", "[fe80::1%eth0]:80"},
		"/dns/host.test/tcp/80":                        {"tcp", "host.test:80"},
		"/dns4/host.test/tcp/80":                       {"tcp4", "host.test:80"},
		"/dns6/host.test/tcp/80":                       {"tcp6", "host.test:80"},
		"/unix/run/x.sock":                             {"unix", "/run/x.sock"},
		"/ip4/127.0.0.1":                               {},
		"/ip4/127.0.0.1/udp/80":                        {},
		"/ip4/127.0.0.1/udp/80/quic-v1":                {},
		"/ip4/127.0.0.1/tcp/80/ws":                     {},
		"/ip4/127.0.0.1/tcp/80/tls/http":               {},
		"/ip4/127.0.0.1/tcp/80/p2p-circuit":            {},
		"/ip4/127.0.0.1/tcp/80/tcp/81":                 {},
		"/ip4/127.0.0.1/ip4/10.0.0.1/tcp/80":           {},
		"/ip6zone/eth0/dns/host.test/tcp/80":           {},
		"/ip6zone/eth0/unix/run/x.sock":                {},
		"/dnsaddr/host.test/tcp/80":                    {},
		"/tcp/80":                                      {},
		"/p2p/" + p.self.String():                      {},
		"/ip4/127.0.0.1/tcp/80/p2p/" + p.self.String(): {},
	} {
		got, err := parseSocket(testkit.Addr(t, text))
		if got != want || errors.Is(err, ErrAddress) != (want == socketAddr{}) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	more := testkit.Addr(t, "/ip4/127.0.0.1/tcp/0/ws")
	_, err := p.Dial(t.Context(), nil, p.self, web, more)
	wantErr(t, err, ErrAddress)
	_, err = p.NewListener(t.Context(), web, more)
	wantErr(t, err, ErrAddress)
	wantErr(t, Tunnel{Protocol: web, Target: more.String()}.Validate(), ErrAddress)
}

func TestNilOptions(t *testing.T) {
	p := newTunnels(t, newHost(t, transports[0]), nil)
	if _, err := p.NewListener(t.Context(), web, freePort(t), nil); err != nil {
		t.Error(err)
	}
}

// A port that the system chooses is for binding. No service is there.
func TestTargetHasAPort(t *testing.T) {
	p := newTunnels(t, newHost(t, transports[0]))
	for _, text := range []string{"/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0", "/dns/localhost/tcp/0"} {
		_, err := p.NewListener(t.Context(), web, testkit.Addr(t, text))
		wantErr(t, err, ErrAddress)
		wantErr(t, Tunnel{Protocol: web, Target: text}.Validate(), ErrAddress)
	}
}

func TestAdmitFuncPanics(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t), WithAdmitFunc(func(peer.ID) bool { panic("rule") }))
		wantRefused(t, at)
		wantRefused(t, at) // and the process lives
	})
}

// A tunnel's own admission comes on top of that of the owner of all tunnels.
func TestAdmissionByOwnerAndTunnel(t *testing.T) {
	yes, no := func(peer.ID) bool { return true }, func(peer.ID) bool { return false }
	dial, host := newPair(t, transports[0])
	client := newTunnels(t, dial)
	for _, tc := range []struct {
		name          string
		owner, tunnel func(peer.ID) bool
		want          error
	}{
		{"both", yes, yes, nil},
		{"owner alone", yes, no, ErrNotAdmitted},
		{"tunnel alone", no, yes, ErrNotAdmitted},
		{"no function", no, nil, ErrNotAdmitted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serve := newTunnels(t, host, WithAdmitFunc(tc.owner))
			// A tunnel that is made first leaves nothing behind for the next.
			if _, err := serve.NewListener(t.Context(), "/x/other", freePort(t), WithAdmitFunc(no)); err != nil {
				t.Fatal(err)
			}
			if _, err := serve.NewListener(t.Context(), web, echoService(t), WithAdmitFunc(tc.tunnel)); err != nil {
				t.Fatal(err)
			}
			c, err := client.DialConn(t.Context(), host.ID(), web)
			if err == nil {
				_ = c.SetDeadline(time.Now().Add(deadline))
				err = echoOnce(c, "x")
				_ = c.Close()
			}
			if tc.want == nil && err != nil {
				t.Error(err)
			} else if tc.want != nil {
				wantErr(t, err, tc.want)
			}
			_ = serve.Close()
		})
	}
}

func TestPeerReport(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		got := make(chan string, 1)
		target := service(t, func(c *net.TCPConn) {
			all, _ := io.ReadAll(c)
			got <- string(all)
		})
		for _, report := range []PeerReport{ReportPeerID, ReportProxyV2} {
			l, err := serve.NewListener(t.Context(), web, target, WithPeerReport(report))
			if err != nil {
				t.Fatal(err)
			}
			c, err := dial.DialConn(t.Context(), serve.self, web)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "bytes of the peer")
			_ = c.Close()
			text := testkit.Receive(t, got, "service to be told")
			id := dial.self.String()
			switch report {
			case ReportPeerID:
				if text != id+"\nbytes of the peer" {
					t.Errorf("service got %q", text)
				}
			case ReportProxyV2:
				from, to := ends(t, dial.host.Network().ConnsToPeer(serve.self)[0])
				want := []byte(proxySignature + "\x21\x11")
				want = append(want, 0, byte(12+3+len(id)))
				want = append(append(want, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
				want = binary.BigEndian.AppendUint16(want, from.Port())
				want = binary.BigEndian.AppendUint16(want, to.Port())
				want = append(want, TLVPeerID, 0, byte(len(id)))
				if text != string(want)+id+"bytes of the peer" {
					t.Errorf("service got %q", text)
				}
			}
			_ = l.Close()
		}
	})
}

// ends are the addresses of a connection, IPv4, as package net has them.
func ends(t *testing.T, c network.Conn) (local, remote netip.AddrPort) {
	t.Helper()
	var out [2]netip.AddrPort
	for i, a := range []ma.Multiaddr{c.LocalMultiaddr(), c.RemoteMultiaddr()} {
		at, err := manet.ToNetAddr(a[:2]) // without what is above UDP
		if err != nil {
			t.Fatal(err)
		}
		switch at := at.(type) {
		case *net.TCPAddr:
			out[i] = at.AddrPort()
		case *net.UDPAddr:
			out[i] = at.AddrPort()
		}
		out[i] = netip.AddrPortFrom(out[i].Addr().Unmap(), out[i].Port())
	}
	return out[0], out[1]
}
