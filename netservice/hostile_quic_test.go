package netservice_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/test"
	"github.com/libp2p/go-libp2p/core/transport"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"

	"github.com/go-nebnet/nebnet/netservice"
)

// deaf is a socket that sends and never hears an answer, as one would whose
// address is forged.
type deaf struct {
	net.PacketConn
	initials *atomic.Int64
}

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

func (d deaf) WriteTo(b []byte, to net.Addr) (int, error) {
	d.initials.Add(1)
	return d.PacketConn.WriteTo(b, to)
}

// Row 53: QUIC Initials that nobody answers for. Newcomers over TCP do not notice,
// and those over QUIC only have to prove their address.
func TestHostileInitials(t *testing.T) {
	const initials = 1200
	t.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // of the deaf socket
	svc := start(t, netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}})
	var sent atomic.Int64
	flooder, err := libp2p.New(
		libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.QUICReuse(quicreuse.NewConnManager, quicreuse.OverrideListenUDP(func(network string, a *net.UDPAddr) (net.PacketConn, error) {
			c, err := net.ListenUDP(network, a)
			return deaf{c, &sent}, err
		})),
		libp2p.Transport(func(key crypto.PrivKey, cm *quicreuse.ConnManager, psk pnet.PSK, g connmgr.ConnectionGater, rm network.ResourceManager) (transport.Transport, error) {
			t.Cleanup(func() { cm.Close() }) // libp2p leaves that to whoever gave it
			return libp2pquic.NewTransport(key, cm, psk, g, rm)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer flooder.Close()
	var tcp, quic string
	for _, a := range svc.Node().Addrs() {
		if strings.Contains(a.String(), "quic") {
			quic = a.String()
		} else {
			tcp = a.String()
		}
	}
	target, err := peer.AddrInfoFromString(quic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range initials { // as many peers, all at the victim's address, again and again
		wg.Go(func() {
			for ctx.Err() == nil {
				p, err := test.RandPeerID()
				if err != nil {
					t.Error(err)
					return
				}
				flooder.Peerstore().AddAddrs(p, target.Addrs, peerstore.PermanentAddrTTL)
				flooder.Network().DialPeer(ctx, p)
			}
		})
	}
	limit := time.Now().Add(30 * time.Second)
	for sent.Load() < initials && time.Now().Before(limit) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := sent.Load(); n < initials {
		t.Fatalf("only %d Initials were sent", n)
	}
	for _, addr := range []string{tcp, quic} {
		honest := start(t, netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
		within, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		err := honest.ConnectPeer(within, addr)
		for err != nil && within.Err() == nil { // on a busy machine QUIC's own 5 s may be too short
			err = honest.ConnectPeer(within, addr)
		}
		cancel()
		if err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, reason := range []string{"limit", "ip_handshakes"} {
		if n := count(svc, "neb.net.connections.refused."+reason); n != 0 {
			t.Errorf("%d newcomers were refused: %s", n, reason)
		}
	}
}
