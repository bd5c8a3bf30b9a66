package netservice_test

import (
	"context"
	"io"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// attacker is a plain libp2p host without limits of its own.
type attacker struct {
	host.Host
	s       *siege
	control network.Stream // once hello has passed
}

// attacker makes a host on an address of its own.
func (s *siege) attacker(opts ...libp2p.Option) *attacker {
	s.t.Helper()
	return s.attackerAt(s.address(), opts...)
}

func (s *siege) attackerAt(node int, opts ...libp2p.Option) *attacker {
	s.t.Helper()
	opts = append([]libp2p.Option{libp2p.ResourceManager(&network.NullResourceManager{})}, opts...)
	return &attacker{Host: s.net.Host(s.t, s.net.Node(node), opts...), s: s}
}

// connect connects to the victim, and no more.
func (a *attacker) connect() error {
	ctx, cancel := context.WithTimeout(a.s.t.Context(), 5*time.Second)
	defer cancel()
	return a.Connect(ctx, a.s.info())
}

// greeting is the hello of a node of the victim's chain.
func greeting() handshake.Hello {
	return handshake.Hello{VersionMin: 1, VersionMax: 1, ChainID: "test", Genesis: []byte{1}, Agent: "evil", Instance: 1}
}

// hello opens a hello stream and completes the handshake.
func (a *attacker) hello(h handshake.Hello) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(a.s.t.Context(), 15*time.Second)
	defer cancel()
	st, err := a.NewStream(ctx, a.s.victim.Node().ID(), handshake.ProtocolAny)
	if err != nil {
		return nil, err
	}
	_, err = handshake.Open(ctx, st, h, nil)
	return st, err
}

// enlist makes the attacker a peer of the victim that answers its pings.
func (a *attacker) enlist() {
	a.s.t.Helper()
	err := a.connect()
	if err == nil {
		a.control, err = a.hello(greeting())
	}
	if err != nil {
		a.s.t.Fatalf("attacker: %v", err)
	}
	go pong(a.control)
	a.s.event(netservice.PeerConnected, a.ID())
}

// session is an attacker that is a peer.
func (s *siege) session() *attacker {
	s.t.Helper()
	a := s.attacker()
	a.enlist()
	return a
}

// pong answers pings until the victim says goodbye or the control stream ends.
func pong(control network.Stream) {
	defer control.Reset()
	var head [2]byte
	for {
		if _, err := io.ReadFull(control, head[:]); err != nil {
			return
		}
		body := make([]byte, head[1])
		if _, err := io.ReadFull(control, body); err != nil {
			return
		}
		switch head[0] {
		case 1:
			control.Write(append([]byte{2, 8}, body...))
		case 3:
			return
		}
	}
}

// open opens a stream of a message type and waits for the victim's consent.
func (a *attacker) open(msgType string) network.Stream {
	a.s.t.Helper()
	ctx, cancel := context.WithTimeout(a.s.t.Context(), 15*time.Second)
	defer cancel()
	st, err := a.NewStream(ctx, a.s.victim.Node().ID(), a.s.protocol(msgType))
	if err == nil {
		_, err = st.Write(nil) // sends what lazy negotiation holds back
	}
	if err != nil {
		a.s.t.Fatalf("open a stream of %s: %v", msgType, err)
	}
	return st
}

// identified waits for identify, after which libp2p opens no streams by itself.
func (a *attacker) identified() {
	if h, ok := a.Host.(interface{ IDService() identify.IDService }); ok {
		for _, c := range a.Network().ConnsToPeer(a.s.victim.Node().ID()) {
			<-h.IDService().IdentifyWait(c)
		}
	}
	time.Sleep(time.Second)
}

// raw is a connection of an attacker that answers nothing.
func (s *siege) raw(node int, cfg testnet.RawPeerConfig) *testnet.RawPeer {
	s.t.Helper()
	p, err := s.net.DialRaw(s.t.Context(), s.net.Node(node), s.info(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}
