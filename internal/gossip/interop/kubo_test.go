package interop

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// A kubo daemon with pubsub and an engine on an open topic: each gets what the other
// publishes, whoever dials.
func TestKuboPubSub(t *testing.T) {
	for _, dials := range []string{"engine", "kubo"} {
		t.Run(dials+" dials", func(t *testing.T) {
			kubo := testkit.StartKubo(t)
			sub := testkit.Start(t, kubo.Command("pubsub", "sub", "--enc=json", topic))
			sub.Killed = true
			h, e, got := engine(t, gossip.Signed, 0)
			if dials == "engine" {
				if err := h.Connect(t.Context(), kubo.Info()); err != nil {
					t.Fatal(err)
				}
			} else {
				kubo.Run("swarm", "connect", testkit.FullAddr(t, h))
			}
			testkit.Eventually(t, "each knows that the other subscribes, and has grafted it", func() bool {
				p := e.Stats().Peers[kubo.Info().ID]
				return strings.Contains(kubo.Run("pubsub", "peers", topic), h.ID().String()) && len(p.Mesh) > 0
			})
			for i, size := range sizes {
				if err := e.Publish(t.Context(), "foreign", payload(size, byte(i))); err != nil {
					t.Fatal(err)
				}
				var m struct{ Data string }
				if err := json.Unmarshal([]byte(sub.Line()), &m); err != nil {
					t.Fatal(err)
				}
				// Multibase: u is base64 for addresses, without padding.
				data, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(m.Data, "u"))
				if err != nil || string(data) != string(payload(size, byte(i))) {
					t.Fatalf("kubo got %d bytes, want %d: %v", len(data), size, err)
				}
				file := filepath.Join(t.TempDir(), "message")
				if err := os.WriteFile(file, payload(size, byte(100+i)), 0o600); err != nil {
					t.Fatal(err)
				}
				kubo.Run("pubsub", "pub", topic, file)
				want(t, "to the engine", got, payload(size, byte(100+i)))
				sub.Line() // kubo hands its own to its subscriptions, too
			}
		})
	}
}

// Without signatures kubo still names author and sequence number, and takes nothing
// without them. The specification's StrictNoSign forbids both, so there is no unsigned
// network that kubo can share: what it publishes is refused and counted.
func TestKuboUnsigned(t *testing.T) {
	kubo := testkit.StartKubo(t, [2]string{"Pubsub.DisableSigning", "true"})
	h, e, got := engine(t, gossip.Unsigned, 0)
	if err := h.Connect(t.Context(), kubo.Info()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "kubo knows that the engine subscribes", func() bool {
		return strings.Contains(kubo.Run("pubsub", "peers", topic), h.ID().String())
	})
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, payload(1000, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	kubo.Run("pubsub", "pub", topic, file)
	testkit.Eventually(t, "the message is refused", func() bool { return e.Stats().Types["foreign"].Rejected == 1 })
	select {
	case b := <-got:
		t.Errorf("delivered %d bytes", len(b))
	default:
	}
}
