// What hostile peers and broken networks can do to a service, each tried by a test
// that fails when the defence is taken out. SECURITY.md has the table of the rows that
// the tests are named after.
package netservice_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/session"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// siege is a simulated network with one service under attack. It takes two
// types: text, which honest peers send, and bait, which attackers do.
type siege struct {
	t      *testing.T
	net    *testnet.Net
	victim *netservice.NebService
	events *netservice.PeerSubscription // of the victim, all kinds
	texts  chan string                  // the victim's
	nodes  int                          // addresses given away

	mu      sync.Mutex        // guards the fields below
	numbers map[string]uint64 // what the victim offers; learned by attackers that are peers
	learned chan struct{}     // closed at each change
}

// bait is a small message type, so that limits are met soon.
var bait = netservice.Declare("bait", netservice.Raw(), netservice.MaxSize(baitSize))

const baitSize = 64 << 10

// besiege runs f in a bubble of its own, with a victim that setup may change.
func besiege(t *testing.T, setup func(cfg *netservice.Config), f func(t *testing.T, s *siege), opts ...netservice.Option) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		s := newSiege(t)
		cfg := chain()
		if setup != nil {
			setup(&cfg)
		}
		s.begin(s.service(s.address(), cfg, opts...))
		f(t, s)
	})
}

// newSiege is a siege without a victim; begin gives it one. It runs in a bubble.
func newSiege(t *testing.T) *siege {
	return &siege{t: t, net: testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond})), texts: make(chan string, 64),
		numbers: make(map[string]uint64), learned: make(chan struct{})}
}

// begin starts the victim.
func (s *siege) begin(victim *netservice.NebService) {
	s.t.Helper()
	s.victim = victim
	s.events = victim.SubscribePeers(netservice.PeerConnected, netservice.PeerDisconnected,
		netservice.PeerBanned, netservice.PeerRefused, netservice.PeerCrowded)
	_, err := text.Subscribe(victim, func(_ context.Context, m netservice.Received[[]byte]) { s.texts <- string(m.Value) })
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := bait.Subscribe(victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
		s.t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// address gives away an address that nobody has yet; each is alone in its /24.
func (s *siege) address() int {
	s.nodes++
	return s.nodes
}

// service makes a service on a node, which the end of the test stops.
func (s *siege) service(node int, cfg netservice.Config, opts ...netservice.Option) *netservice.NebService {
	s.t.Helper()
	ip := s.net.Node(node)
	key, err := s.net.Key(ip)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.Listen = []string{testnet.Multiaddr(ip).String()}
	svc, err := netservice.NewNebService(cfg, append([]netservice.Option{
		quiet(), netservice.WithIdentity(key), netservice.WithTransport(s.net.Transport(ip)),
		netservice.WithHostOptions(libp2p.DisableIdentifyAddressDiscovery()),
	}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := svc.Stop(); err != nil {
			s.t.Errorf("stop: %v", err)
		}
	})
	return svc
}

// mustServe fails unless a new honest node becomes a peer and is heard at once.
func (s *siege) mustServe(when string) {
	s.t.Helper()
	honest := s.service(s.address(), chain())
	if err := honest.Start(); err != nil {
		s.t.Fatal(err)
	}
	defer honest.Stop()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	begin, word := time.Now(), when+" "+honest.Node().ID().String()
	err := honest.ConnectPeer(ctx, s.addr())
	if err == nil {
		err = text.Send(ctx, honest, s.victim.Node().ID(), []byte(word))
	}
	if err != nil {
		s.t.Errorf("%s: an honest node: %v", when, err)
		return
	}
	for got := ""; got != word; {
		got = next(s.t, "honest message "+when, s.texts)
	}
	if d := time.Since(begin); d > 2*time.Second {
		s.t.Errorf("%s: an honest node waits %s", when, d)
	}
}

func (s *siege) info() peer.AddrInfo { return testnet.Info(s.victim.Node().Host()) }

func (s *siege) addr() string { return s.victim.Node().Addrs()[0].String() }

func (s *siege) count(name string) int64 { return count(s.victim, name) }

// event waits for an event of the victim about a peer.
func (s *siege) event(kind netservice.PeerEventKind, p peer.ID) netservice.PeerEvent {
	s.t.Helper()
	for {
		if e := event(s.t, s.events, kind); e.Peer == p {
			return e
		}
	}
}

// hungUp waits for the end of a stream and returns how long that took. The
// stream must be reset, not closed.
func hungUp(t *testing.T, st io.Reader) time.Duration {
	t.Helper()
	begin := time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, st)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !errors.Is(err, network.ErrReset) {
			t.Errorf("the stream ended with %v, not with a reset", err)
		}
	case <-time.After(10 * time.Minute):
		t.Error("the stream was never reset")
	}
	return time.Since(begin)
}

// frame is a message frame with a given length and body.
func frame(length uint64, flags byte, body ...byte) []byte {
	return append(append(binary.AppendUvarint(nil, length), flags), body...)
}

// key makes an identity.
func (s *siege) key() crypto.PrivKey {
	s.t.Helper()
	k, err := s.net.Key(s.net.Node(60000 + s.address()))
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// allocated is how many bytes have been allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// awaitGoroutines waits until the number of goroutines is back at base, give or take.
func awaitGoroutines(t *testing.T, base int) {
	t.Helper()
	for range 20 {
		synctest.Wait()
		if runtime.NumGoroutine() <= base {
			return
		}
		time.Sleep(time.Minute)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before the attack:\n%s", runtime.NumGoroutine(), base, stacks[:runtime.Stack(stacks, true)])
}

// baits counts the bait that reached the victim's dispatcher.
func (s *siege) baits() uint64 { return s.victim.Stats().Dispatcher.Types["bait"].Received }

// catchBait subscribes to bait.
func (s *siege) catchBait(handle func(netservice.Received[[]byte])) {
	s.t.Helper()
	_, err := bait.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { handle(m) })
	if err != nil {
		s.t.Fatal(fmt.Errorf("bait: %w", err))
	}
}

func (s *siege) protocol() protocol.ID { return session.Protocol(s.victim.Node().Network()) }

// number is that of a message type which the victim takes, or is about to.
func (s *siege) number(msgType string) uint64 {
	s.t.Helper()
	limit := time.After(time.Minute)
	for {
		s.mu.Lock()
		n, changed := s.numbers[msgType], s.learned
		s.mu.Unlock()
		if n != 0 {
			return n
		}
		select {
		case <-changed:
		case <-limit:
			s.t.Fatalf("the victim does not offer %s", msgType)
		}
	}
}

// learn takes an offers frame of the victim's.
func (s *siege) learn(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(body) > 0 {
		size, n := binary.Uvarint(body)
		entry := body[n : n+int(size)]
		body = body[n+int(size):]
		number, n := binary.Uvarint(entry)
		if kind := entry[n]; kind == 1 || kind == 2 { // a message type, or a method
			length, m := binary.Uvarint(entry[n+1:])
			name := string(entry[n+1+m:][:length])
			if kind == 2 {
				name = "method " + name
			}
			s.numbers[name] = number
		}
	}
	close(s.learned)
	s.learned = make(chan struct{})
}

// peers is how many sessions the victim has with a peer.
func (s *siege) peers(p peer.ID) (n int) {
	for _, info := range s.victim.Peers() {
		if info.ID == p {
			n++
		}
	}
	return n
}
