package interop

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

const (
	// jsEnv switches the tests on that need Node.js.
	jsEnv = "NEBNET_JS"
	// prefix is that of the js network's protocols.
	prefix = "/js"
)

func needJS(t *testing.T) {
	t.Helper()
	if os.Getenv(jsEnv) == "" {
		t.Skipf("needs Node.js: set %s=1 after (cd internal/discovery/kad/interop/js && npm ci --ignore-scripts --no-audit --no-fund)", jsEnv)
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules", "libp2p")); err != nil {
		t.Fatalf("packages missing: run npm ci in internal/discovery/kad/interop/js: %v", err)
	}
}

// jsNode is a node of the js network.
type jsNode struct {
	*testkit.Process
	t    *testing.T
	addr string
}

type jsCommand struct {
	Do   string `json:"do"`
	Addr string `json:"addr,omitempty"`
	Peer string `json:"peer,omitempty"`
}

type jsEvent struct {
	Event, Addr, Text string
	Addrs             []string
	Size              int
}

func startJS(t *testing.T) *jsNode {
	t.Helper()
	cmd := exec.Command("node", filepath.Join("js", "kad.mjs"), prefix+"/kad/1.0.0")
	cmd.Stderr = os.Stderr
	n := &jsNode{t: t, Process: testkit.Start(t, cmd)}
	n.addr = n.await("listening").Addr
	return n
}

func (n *jsNode) await(kind string) (e jsEvent) {
	n.t.Helper()
	line := n.Line("") // any
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event != kind {
		n.t.Fatalf("js-libp2p says %q, want %s", line, kind)
	}
	return e
}

func (n *jsNode) ask(c jsCommand, kind string) jsEvent {
	n.t.Helper()
	if err := json.NewEncoder(n.Input()).Encode(c); err != nil {
		n.t.Fatal(err)
	}
	return n.await(kind)
}

func (n *jsNode) dial(addr string) { n.t.Helper(); n.ask(jsCommand{Do: "dial", Addr: addr}, "dialled") }

// id is that of the peer at the end of a full address.
func id(addr string) string { return addr[strings.LastIndex(addr, "/")+1:] }

// join starts a service that knows one node of the js network, and nobody of its chain.
func join(t *testing.T, boot string) *netservice.NebService {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := netservice.NewNebService(netservice.Config{
		ChainID: "test", Listen: []string{testkit.LoopbackTCP}, NoPeerExchange: true,
		HandshakeTimeout: netservice.Duration(500 * time.Millisecond),
		Discovery: netservice.Discovery{
			Kademlia: true, KademliaPrefix: prefix, KademliaPeers: []string{boot}, KademliaMode: netservice.KademliaServer,
		},
	}, netservice.WithLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Two services that know nobody of their chain join a network of js-libp2p, each by
// another node of it, and find each other by what it keeps for them.
func TestJSNetworkIsJoined(t *testing.T) {
	needJS(t)
	var table []*jsNode
	for i := range 4 {
		table = append(table, startJS(t))
		if i > 0 {
			table[i].dial(table[0].addr)
		}
	}
	a, b := join(t, table[1].addr), join(t, table[2].addr)
	testkit.Eventually(t, "a peer of the chain", func() bool { return len(a.Peers()) == 1 && len(b.Peers()) == 1 })
	if p := a.Peers()[0].ID; p != b.Node().ID() {
		t.Errorf("%s is no peer", p)
	}
}

// A node of js-libp2p that knows only a service joins its network by that: it finds, and
// is found by, those that the service knows.
func TestJSJoins(t *testing.T) {
	needJS(t)
	first, second := startJS(t), startJS(t)
	s := join(t, first.addr)
	second.dial(s.Node().Addrs()[0].String())
	finds := func(who *jsNode, whom string) {
		t.Helper()
		testkit.Eventually(t, "one finds the other", func() bool {
			return len(who.ask(jsCommand{Do: "find", Peer: id(whom)}, "found").Addrs) > 0
		})
	}
	finds(second, first.addr)
	finds(first, second.addr)
	if n := second.ask(jsCommand{Do: "table"}, "table").Size; n == 0 {
		t.Error("the service is not in its routing table")
	}
}
