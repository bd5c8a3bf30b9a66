package session

import (
	"context"
	"encoding/binary"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	testNetwork                = "00112233aabbccdd"
	helloProtocol  protocol.ID = "/neb/" + testNetwork + "/hello/test"
	handshakeBytes             = "HELLO"
)

// security names the transports that tests and benchmarks run over.
func hostOptions(security string) []libp2p.Option {
	opts := []libp2p.Option{
		libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	}
	switch security {
	case "tls":
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(libp2ptls.ID, libp2ptls.New),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	case "noise":
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	case "quic":
		opts = append(opts, libp2p.Transport(libp2pquic.NewTransport),
			libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"))
	}
	return opts
}

func newHost(t testing.TB, security string) host.Host {
	t.Helper()
	h, err := libp2p.New(hostOptions(security)...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// node is an engine on a host, with what it received.
type node struct {
	host   host.Host
	engine *Engine

	mu       sync.Mutex
	sessions map[network.Conn]*Session
	got      map[string][]string
	faults   []Fault
	arrived  notice
	attached chan *Session
	handle   func(ctx context.Context, msgType string, batch [][]byte) error
}

func newNode(t testing.TB, h host.Host, tweak func(*Config), types ...msgtype.Spec) *node {
	t.Helper()
	n := &node{host: h, got: make(map[string][]string), sessions: make(map[network.Conn]*Session), attached: make(chan *Session, 16)}
	cfg := Config{
		Host: h, Network: testNetwork, Obs: obs.Discard(), Peers: n,
		Deliver: func(ctx context.Context, _ *Session, msgType string, batch [][]byte) error {
			if n.handle != nil {
				return n.handle(ctx, msgType, batch)
			}
			n.record(msgType, batch)
			return nil
		},
		Penalise: func(_ peer.ID, f Fault) {
			n.mu.Lock()
			n.faults = append(n.faults, f)
			n.mu.Unlock()
			n.arrived.signal()
		},
	}
	if tweak != nil {
		tweak(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.engine = e
	for _, spec := range types {
		if err := e.Set(spec, true); err != nil {
			t.Fatal(err)
		}
	}
	h.SetStreamHandler(helloProtocol, func(st network.Stream) {
		b := make([]byte, len(handshakeBytes))
		if _, err := io.ReadFull(st, b); err != nil {
			st.Reset()
			return
		}
		s, err := n.attach(context.Background(), st)
		if err != nil {
			st.Reset()
			return
		}
		n.attached <- s
	})
	return n
}

// attach makes a session, in place of an older one with the same peer.
func (n *node) attach(ctx context.Context, st network.Stream) (*Session, error) {
	s, err := n.engine.Attach(ctx, st)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	var old *Session
	for _, other := range n.sessions {
		if other.Peer() == s.Peer() {
			old = other
		}
	}
	n.sessions[st.Conn()] = s
	n.mu.Unlock()
	n.arrived.signal()
	if old != nil {
		old.end(handshake.ReasonReplaced, false)
	}
	s.AfterDone(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.sessions[s.Conn()] == s {
			delete(n.sessions, s.Conn())
		}
	})
	return s, nil
}

// SessionOn implements Peers: the handshake of these tests is over on this side
// as soon as its stream is there.
func (n *node) SessionOn(ctx context.Context, c network.Conn) *Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions[c]
}

// Shared implements Peers.
func (n *node) Shared(s *Session) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	other := n.sessions[s.Conn()]
	return other != nil && other != s
}

// sessionWith is the session with a peer that is not over, nil when there is none.
func (n *node) sessionWith(h host.Host) *Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s.Peer() == h.ID() {
			return s
		}
	}
	return nil
}

func (n *node) record(msgType string, batch [][]byte) {
	n.mu.Lock()
	for _, b := range batch {
		n.got[msgType] = append(n.got[msgType], string(b))
	}
	n.mu.Unlock()
	n.arrived.signal()
}

func (n *node) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.engine.Close(ctx); err != nil {
		t.Error(err)
	}
	n.host.Close()
}

// await waits for a condition on what n has received.
func (n *node) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(60 * time.Second)
	defer timeout.Stop()
	for {
		ch := n.arrived.wait()
		n.mu.Lock()
		met := ok()
		n.mu.Unlock()
		if met {
			n.arrived.done()
			return
		}
		select {
		case <-ch:
			n.arrived.done()
		case <-timeout.C:
			n.arrived.done()
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// join connects a to b and makes a session of it, as a handshake would.
func join(t testing.TB, a, b *node) (sa, sb *Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a.host.Peerstore().AddAddrs(b.host.ID(), b.host.Addrs(), peerstore.PermanentAddrTTL)
	st, err := a.host.NewStream(ctx, b.host.ID(), helloProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte(handshakeBytes)); err != nil {
		t.Fatal(err)
	}
	if sa, err = a.attach(ctx, st); err != nil {
		t.Fatal(err)
	}
	select {
	case sb = <-b.attached:
	case <-ctx.Done():
		t.Fatal("the other side did not attach")
	}
	return sa, sb
}

// randomBytes are the same for the same seed and do not compress.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(b)
	return b
}

// inBubble runs a test over an in-memory network in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, net *testnet.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond})))
	})
}

// simNode is a node of the in-memory network, closed at the end of the test.
func simNode(t *testing.T, net *testnet.Net, i int, tweak func(*Config), types ...msgtype.Spec) *node {
	t.Helper()
	n := newNode(t, simHost(t, net, i), tweak, types...)
	t.Cleanup(func() { n.close(t) })
	return n
}

func simHost(t *testing.T, net *testnet.Net, i int) host.Host {
	t.Helper()
	h, err := net.NewHost(net.Node(i), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// open opens a message stream by hand, past the engine, and says what it carries.
func open(t *testing.T, from host.Host, to *node, msgType string) network.Stream {
	t.Helper()
	to.engine.mu.Lock()
	number := to.engine.reg.numbers[offered{KindMessage, msgType}]
	to.engine.mu.Unlock()
	return openNumber(t, from, to, number)
}

func openNumber(t *testing.T, from host.Host, to *node, number uint32) network.Stream {
	t.Helper()
	from.Peerstore().AddAddrs(to.host.ID(), to.host.Addrs(), peerstore.PermanentAddrTTL)
	st, err := from.NewStream(t.Context(), to.host.ID(), Protocol(testNetwork))
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, binary.AppendUvarint(nil, uint64(number)))
	return st
}

// hello makes a session at the other side, and none at this one.
func hello(t *testing.T, from host.Host, to *node) network.Stream {
	t.Helper()
	from.Peerstore().AddAddrs(to.host.ID(), to.host.Addrs(), peerstore.PermanentAddrTTL)
	st, err := from.NewStream(t.Context(), to.host.ID(), helloProtocol)
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, appendControl([]byte(handshakeBytes), ctlReady, nil))
	<-to.attached
	return st
}

func write(t *testing.T, st network.Stream, b []byte) {
	t.Helper()
	if _, err := st.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the other side ends a stream, and tells after what time
// and with what error.
func ended(t *testing.T, st network.Stream) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	_, err := io.Copy(io.Discard, st)
	return time.Since(began), err
}

func (n *node) messages(msgType string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got[msgType])
}

func (n *node) faulted() []Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.faults)
}

func (n *node) counted(name string) int64 { return n.engine.cfg.Obs.Counter(name).Count() }

// balance checks the invariant of what was sent.
func balance(t *testing.T, s *Session) {
	t.Helper()
	for name, ts := range s.Stats().Types {
		st := ts.Send
		sum := st.Written + uint64(st.Pending)
		for _, n := range st.Dropped {
			sum += n
		}
		if st.Queued != sum {
			t.Errorf("%s: queued %d, accounted for %d: %+v", name, st.Queued, sum, st)
		}
	}
}

func send(t *testing.T, s *Session, msgType, text string) {
	t.Helper()
	if err := s.Send(t.Context(), msgType, []byte(text), SendOptions{}); err != nil {
		t.Fatalf("send %s: %v", msgType, err)
	}
}

// openInbound is the number of the peer's streams.
func (s *Session) openInbound() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inStreams)
}

// trySend is Send that never waits.
func trySend(s *Session, msgType string, data []byte, opts SendOptions) error {
	p, err := s.e.Prepare(msgType, data)
	if err != nil {
		return err
	}
	return s.TrySendPrepared(p, opts.Priority)
}
