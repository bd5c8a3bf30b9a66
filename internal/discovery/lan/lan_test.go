package lan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A service name has a label of at most 15 letters (RFC 6763, 7.2), and networks
// have names of their own. That nodes find each other by it is tried in network
// namespaces: multicast goes out on every interface of a machine.
func TestServiceName(t *testing.T) {
	seen := make(map[string]bool)
	for _, network := range []string{"0123456789abcdef", "1123456789abcdef", "0123456788abcdef", "short", ""} {
		name := ServiceName(network)
		label, rest, _ := strings.Cut(name, ".")
		if seen[name] || len(label)-1 > 15 || rest != "_udp" {
			t.Errorf("%q: %s", network, name)
		}
		seen[name] = true
	}
}

func TestWhatIsHeard(t *testing.T) {
	var got []peer.AddrInfo
	n := notifee{"me", func(ai peer.AddrInfo) { got = append(got, ai) }}
	n.HandlePeerFound(peer.AddrInfo{ID: "me", Addrs: []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")}})
	many := peer.AddrInfo{ID: "other"}
	for i := range 100 {
		many.Addrs = append(many.Addrs, ma.StringCast(fmt.Sprintf("/ip4/10.0.0.1/tcp/%d", i+1)))
	}
	n.HandlePeerFound(many)
	if len(got) != 1 || got[0].ID != "other" || len(got[0].Addrs) != maxAddrs {
		t.Errorf("handed on: %v", got)
	}
}

// stuck is a service that ends when it is let.
type stuck struct{ free chan struct{} }

func (s stuck) Start() error { return nil }
func (s stuck) Close() error { <-s.free; return nil }

func TestCloseIsBounded(t *testing.T) {
	s := stuck{make(chan struct{})}
	f := &Finder{service: s}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close of a service that is stuck: %v", err)
	}
	close(s.free)
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func ExampleServiceName() {
	fmt.Println(ServiceName("0123456789abcdef"))
	// Output: _neb-0123456789._udp
}
