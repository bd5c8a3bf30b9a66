package discovery

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Over real sockets the addresses of a record are those that the host listens
// on, loopback ones too, of each transport.
func TestLoopbackSockets(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			newHost := func() host.Host {
				h, err := libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.DisableRelay(), libp2p.DisableMetrics())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { h.Close() })
				return h
			}
			boot := newNode(t, newHost(), setup{})
			member := newNode(t, newHost(), setup{})
			connect(t, member, boot)
			got := make(chan peer.AddrInfo, 1)
			asker := newNode(t, newHost(), setup{want: 10, change: func(c *Config) {
				c.Found = func(from peer.ID, ai peer.AddrInfo, _ uint64) { got <- ai }
			}})
			connect(t, asker, boot)
			select {
			case ai := <-got:
				if ai.ID != member.ID() {
					t.Errorf("found %v", ai)
				}
				if err := asker.Connect(ctx, ai); err != nil {
					t.Errorf("the address found does not do: %v", err)
				}
			case <-ctx.Done():
				t.Fatal("nobody was found")
			}
		})
	}
}
