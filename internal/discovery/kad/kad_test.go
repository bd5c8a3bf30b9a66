package kad

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// finder starts a node of the table on a host that begins with others.
func finder(t testing.TB, h host.Host, cfg Config, boot ...host.Host) *Finder {
	t.Helper()
	cfg.Host, cfg.Network = h, "0123456789abcdef"
	cfg.Boot = func() (out []peer.AddrInfo) {
		for _, b := range boot {
			out = append(out, peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()})
		}
		return out
	}
	f, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for range 2 { // it is idempotent
			if err := f.Close(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

// all is whom a finder finds.
func all(t testing.TB, f *Finder) map[peer.ID][]ma.Multiaddr {
	t.Helper()
	found := make(map[peer.ID][]ma.Multiaddr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Find(ctx, 10, func(ai peer.AddrInfo) { found[ai.ID] = ai.Addrs }); err != nil {
		t.Logf("find: %v", err)
	}
	return found
}

// A node that knows one of a table finds the others in it, but not itself, and none
// at addresses that it does not take.
func TestFind(t *testing.T) {
	boot := testkit.Host(t)
	anywhere := Config{Mode: Server, Exempt: func(ma.Multiaddr) bool { return true }}
	finder(t, boot, anywhere)
	var others []host.Host
	for range 3 {
		h := testkit.Host(t)
		others = append(others, h)
		f := finder(t, h, anywhere, boot)
		testkit.Eventually(t, "a table that is not empty", func() bool { return f.join(t.Context()) == nil && f.Known() > 0 })
	}
	me := testkit.Host(t)
	f := finder(t, me, anywhere, boot)
	if f.Name() != "kademlia" {
		t.Error(f.Name())
	}
	testkit.Eventually(t, "all of the table", func() bool {
		found := all(t, f)
		for _, h := range others {
			if len(found[h.ID()]) == 0 {
				return false
			}
		}
		return len(found[me.ID()]) == 0
	})
	nowhere := anywhere
	nowhere.Allow = func(ma.Multiaddr) bool { return false }
	if found := all(t, finder(t, testkit.Host(t), nowhere, boot)); len(found) != 0 {
		t.Errorf("found %v at addresses that are not taken", found)
	}
}

// A client asks and is not asked.
func TestClient(t *testing.T) {
	boot, client := testkit.Host(t), testkit.Host(t)
	anywhere := func(m Mode) Config { return Config{Mode: m, Exempt: func(ma.Multiaddr) bool { return true }} }
	served := finder(t, boot, anywhere(Server))
	f := finder(t, client, anywhere(Client), boot)
	testkit.Eventually(t, "a table that is not empty", func() bool { return f.join(t.Context()) == nil && f.Known() == 1 })
	if n := served.Known(); n != 0 {
		t.Errorf("%d clients in the table of a server", n)
	}
}

// Without anybody to begin with, an error says so.
func TestNobody(t *testing.T) {
	f := finder(t, testkit.Host(t), Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Find(ctx, 1, func(peer.AddrInfo) { t.Error("found somebody") }); err == nil {
		t.Error("no error")
	}
	if f.Known() != 0 {
		t.Error("knows somebody")
	}
}

func ExamplePrefix() {
	fmt.Println(Prefix("0123456789abcdef") + "/kad/1.0.0")
	// Output: /neb/0123456789abcdef/kad/1.0.0
}
