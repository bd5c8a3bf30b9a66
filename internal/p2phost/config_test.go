package p2phost_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// Every mistake is reported at once, by field, and nothing has started.
func TestValidate(t *testing.T) {
	ecdsa, _, err := crypto.GenerateECDSAKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	_, err = p2phost.New(p2phost.Config{
		Key:       ecdsa,
		Listen:    []ma.Multiaddr{testkit.Addr(t, "/ip4/127.0.0.1/tcp/1"), testkit.Addr(t, "/ip4/127.0.0.1/tcp/1"), testkit.Addr(t, "/ip4/127.0.0.1/tcp/1/ws"), testkit.Addr(t, "/dns4/x/tcp/1"), nil, testkit.Addr(t, quic0)},
		Announce:  []ma.Multiaddr{testkit.Addr(t, "/ip4/10.0.0.1/tcp/1"), nil},
		NoPrivate: true,
		PSK:       make([]byte, 31),
		UserAgent: "a\nb",
		MaxPeers:  -1, StreamsPerPeer: -1, FDs: -1, ConnsPerIP: -2, ConnsPerSubnet: -2, Memory: 1,
		Trusted: []ma.Multiaddr{nil},
	})
	goleak.VerifyNone(t, before)
	got := map[string]int{}
	for _, e := range flatten(err) {
		var ce *setting.Error
		if !errors.As(e, &ce) {
			t.Errorf("untyped: %v", e)
			continue
		}
		got[ce.Field]++
	}
	want := map[string]int{"Key": 1, "Listen": 5, "Announce": 2, "PSK": 1, "UserAgent": 1, "MaxPeers": 1, "StreamsPerPeer": 1, "FDs": 1, "ConnsPerIP": 1, "ConnsPerSubnet": 1, "Memory": 1, "Trusted": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %v\nwant  %v\n%v", got, want, err)
	}
	if !errors.Is(err, p2phost.ErrPSKTransport) {
		t.Errorf("QUIC with a private network: %v", err)
	}
	if _, err := p2phost.New(p2phost.Config{}); err == nil {
		t.Error("no key is no mistake")
	}
}

// Over real sockets, without QUIC.
func TestPrivateNetworkOverTCP(t *testing.T) {
	key := []byte(strings.Repeat("k", 32))
	c := config(t, tcp0)
	c.PSK = key
	server := start(t, c)
	echo(server)
	c = config(t)
	c.PSK = key
	client := start(t, c)
	ctx := within(t)
	if err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}); err != nil {
		t.Fatal(err)
	}
	if err := ask(ctx, client, server.ID(), "secret"); err != nil {
		t.Error(err)
	}
}

// A thousand streams to one peer over TCP, all open at once, as many tunnels
// need; over QUIC what its connection carries.
func TestManyStreamsToOnePeer(t *testing.T) {
	for listen, n := range map[string]int{tcp0: 1000, quic0: 200} {
		t.Run(listen, func(t *testing.T) {
			c := config(t, listen)
			c.Memory = 4 << 30 // whatever the machine has
			server := start(t, c)
			server.SetStreamHandler("/hold/1", func(s network.Stream) {
				_, _ = io.CopyN(s, s, 4)
				_, _ = io.Copy(io.Discard, s)
				_ = s.Close()
			})
			c = config(t)
			c.Memory = 4 << 30
			client := start(t, c)
			ctx := within(t)
			if err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}); err != nil {
				t.Fatal(err)
			}
			streams := make([]network.Stream, n)
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					s, err := client.NewStream(ctx, server.ID(), "/hold/1")
					if err != nil {
						errs[i] = err
						return
					}
					streams[i] = s
					_ = s.SetDeadline(time.Now().Add(15 * time.Second))
					text := fmt.Sprintf("%04d", i)
					if _, err := io.WriteString(s, text); err != nil {
						errs[i] = err
						return
					}
					got := make([]byte, 4)
					if _, err := io.ReadFull(s, got); err != nil || string(got) != text {
						errs[i] = fmt.Errorf("got %q: %w", got, err)
					}
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for _, s := range streams {
				_ = s.Reset()
			}
		})
	}
}

// A name that leads to a private address is not a way round the filter.
func TestNamesAreJudgedByTheirAddresses(t *testing.T) {
	server := start(t, config(t, tcp0))
	port, err := server.Network().ListenAddresses()[0].ValueForProtocol(ma.P_TCP)
	if err != nil {
		t.Fatal(err)
	}
	name := testkit.Addr(t, "/dns4/public.example/tcp/"+port)
	resolver, err := madns.NewResolver(madns.WithDomainResolver("example.", &madns.MockResolver{
		IP: map[string][]net.IPAddr{"public.example": {{IP: net.IPv4(127, 0, 0, 1)}}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, noPrivate := range []bool{false, true} {
		c := config(t)
		c.NoPrivate = noPrivate
		c.Obs = obs.Discard()
		c.Options = append(c.Options, libp2p.MultiaddrResolver(swarm.ResolverFromMaDNS{Resolver: resolver}))
		err := start(t, c).Connect(within(t), peer.AddrInfo{ID: server.ID(), Addrs: []ma.Multiaddr{name}})
		if (err != nil) != noPrivate {
			t.Errorf("NoPrivate %v: %v", noPrivate, err)
		}
		if n := c.Obs.Counter(obs.ConnsRefused + "address").Count(); (n > 0) != noPrivate {
			t.Errorf("NoPrivate %v: %d refusals counted", noPrivate, n)
		}
	}
}

// What peers are told: the announced addresses, in the signed record and in the
// unsigned list, and the user agent; nothing that the filter holds back.
func TestWhatPeersAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*p2phost.Config)
		want   []string
	}{
		"announce": {func(c *p2phost.Config) { c.Announce = []ma.Multiaddr{testkit.Addr(t, "/dns4/node.example/tcp/9")} }, []string{"/dns4/node.example/tcp/9"}},
		"public":   {func(c *p2phost.Config) { c.NoPrivate = true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t, tcp0)
			c.UserAgent = "chain/1.2.3"
			tc.change(&c)
			server := start(t, c)
			client := start(t, config(t))
			listen := server.Network().ListenAddresses()
			if err := client.Connect(within(t), peer.AddrInfo{ID: server.ID(), Addrs: listen}); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(server.Addrs()); got != fmt.Sprint(tc.want) {
				t.Errorf("own addresses %s, want %s", got, tc.want)
			}
			agent, err := client.Peerstore().Get(server.ID(), "AgentVersion")
			if err != nil || agent != "chain/1.2.3" {
				t.Errorf("agent %v, %v", agent, err)
			}
			for _, a := range client.Peerstore().Addrs(server.ID()) {
				if !a.Equal(listen[0]) && (len(tc.want) == 0 || a.String() != tc.want[0]) {
					t.Errorf("the peer was told %s", a)
				}
			}
		})
	}
}

func TestNothingUnaskedFor(t *testing.T) {
	h := start(t, config(t, tcp0, quic0))
	for _, p := range h.Mux().Protocols() {
		if strings.Contains(string(p), "circuit") || strings.Contains(string(p), "dcutr") || strings.Contains(string(p), "autonat") {
			t.Errorf("serves %s", p)
		}
	}
	n := h.Network().(*swarm.Swarm)
	for a, want := range map[string]bool{
		"/ip4/1.2.3.4/tcp/1":                                         true,
		"/ip4/1.2.3.4/udp/1/quic-v1":                                 true,
		"/ip4/1.2.3.4/tcp/1/ws":                                      false,
		"/ip4/1.2.3.4/udp/1/quic-v1/webtransport":                    false,
		"/ip4/1.2.3.4/udp/1/webrtc-direct":                           false,
		"/ip4/1.2.3.4/tcp/1/p2p/" + h.ID().String() + "/p2p-circuit": false,
	} {
		if got := n.TransportForDialing(testkit.Addr(t, a)) != nil; got != want {
			t.Errorf("%s can be dialled: %v", a, got)
		}
	}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "libp2p") {
			t.Errorf("the process-wide registry has %s", f.GetName())
		}
	}
}

// A bad option of the caller leaves nothing behind either.
func TestOptionThatFails(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := config(t, tcp0)
	sorry := errors.New("sorry")
	c.Options = append(c.Options, func(*libp2p.Config) error { return sorry })
	if _, err := p2phost.New(c); !errors.Is(err, sorry) {
		t.Errorf("error %v", err)
	}
	goleak.VerifyNone(t, before)
}

// occupyEnv makes the test binary a foreign program that sits on a port.
const occupyEnv = "P2PHOST_TEST_HOLD"

func occupy(network string) {
	var at net.Addr
	switch network {
	case "tcp":
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			os.Exit(1)
		}
		at = l.Addr()
	case "udp":
		l, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			os.Exit(1)
		}
		at = l.LocalAddr()
	}
	fmt.Println(at)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

// Row 45: another process has the port.
func TestPortInUseByAnotherProcess(t *testing.T) {
	for network, form := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/%s", "udp": "/ip4/127.0.0.1/udp/%s/quic-v1"} {
		cmd := testkit.Self(t, []string{occupyEnv + "=" + network})
		cmd.Stderr = os.Stderr
		p := testkit.Start(t, cmd)
		_, port, _ := net.SplitHostPort(p.Line(":"))
		before := goleak.IgnoreCurrent()
		taken := fmt.Sprintf(form, port)
		_, err := p2phost.New(config(t, tcp0, quic0, taken))
		var le *p2phost.ListenError
		if !errors.As(err, &le) || le.Addr.String() != taken || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: error %v", taken, err)
		}
		goleak.VerifyNone(t, before)
		p.CloseInput()
		if code := p.Exit(); code != 0 {
			t.Errorf("exit %d", code)
		}
	}
}
