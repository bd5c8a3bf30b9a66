package netservice_test

import (
	"bufio"
	"context"
	"encoding/binary"
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

// offer is an entry of an offers frame: a message type of at most 1 MiB that is
// taken and broadcast, and that the node says it judges.
func offer(number byte, name string) []byte {
	entry := append([]byte{number, 1, byte(len(name))}, name...)
	entry = append(binary.AppendUvarint(entry, 1<<20), 3, 1)
	return append([]byte{byte(len(entry))}, entry...)
}

// firstOffers are those of an attacker: it takes text under the number 1, and that
// is all.
func firstOffers() []byte {
	entry := offer(1, "text")
	return append(append([]byte{4, byte(len(entry))}, entry...), 5, 0)
}

// hello opens a hello stream, completes the handshake and says what it takes.
func (a *attacker) hello(h handshake.Hello) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(a.s.t.Context(), 15*time.Second)
	defer cancel()
	st, err := a.NewStream(ctx, a.s.victim.Node().ID(), handshake.ProtocolAny)
	if err != nil {
		return nil, err
	}
	if _, err = handshake.Open(ctx, st, h, nil); err == nil {
		_, err = st.Write(firstOffers())
	}
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
	go a.s.attend(a.control, true)
	a.s.event(netservice.PeerConnected, a.ID())
}

// session is an attacker that is a peer.
func (s *siege) session() *attacker {
	s.t.Helper()
	a := s.attacker()
	a.enlist()
	return a
}

// attend answers the victim's pings and learns its offers, until the control stream
// ends or, with polite, the victim says goodbye.
func (s *siege) attend(control network.Stream, polite bool) {
	r := bufio.NewReader(control)
	for {
		kind, err := r.ReadByte()
		if err != nil {
			break
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			break
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			break
		}
		switch kind {
		case 1:
			control.Write(append([]byte{2, 8}, body...))
		case 4:
			s.learn(body)
		}
		if kind == 3 && polite {
			break
		}
	}
	if polite {
		control.Reset()
	}
}

// open opens a stream of a message type that the victim takes.
func (a *attacker) open(msgType string) network.Stream {
	a.s.t.Helper()
	st, err := a.openNumber(a.s.number(msgType))
	if err != nil {
		a.s.t.Fatalf("open a stream of %s: %v", msgType, err)
	}
	return st
}

// openNumber opens a message stream, on the connection that there is.
func (a *attacker) openNumber(n uint64) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(a.s.t.Context(), "the session's connection"), 15*time.Second)
	defer cancel()
	st, err := a.NewStream(ctx, a.s.victim.Node().ID(), a.s.protocol())
	if err == nil {
		_, err = st.Write(binary.AppendUvarint(nil, n))
	}
	return st, err
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
