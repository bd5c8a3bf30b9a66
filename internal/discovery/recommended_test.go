package discovery

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Records that come by other means are taken as those of an exchange are: from a
// session peer, signed, for as long as more are wanted.
func TestRecommended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(0)), setup{want: 2, change: func(c *Config) { c.Interval = 1 << 60 }})
		other := newNode(t, net.Host(t, net.Node(1)), setup{})
		stranger := newNode(t, net.Host(t, net.Node(2)), setup{})
		const addr = "/ip4/203.0.113.7/tcp/4001"
		good := signed(t, 7, addr)
		n.x.Recommended(stranger.ID(), [][]byte{good})
		if found, _ := n.told(); len(found) != 0 {
			t.Errorf("%v from a stranger", found)
		}
		connect(t, n, other)
		synctest.Wait()
		n.x.Recommended(other.ID(), [][]byte{nil, []byte("junk"), good, good})
		found, faults := n.told()
		if _, id := key(t, 7); len(found) != 1 || found[0].ID != id || found[0].Addrs[0].String() != addr || len(faults) != 0 {
			t.Errorf("%v, %v", found, faults)
		}
		if n.count(obs.ExchangeDropped+"record") != 2 || n.count(obs.ExchangeDropped+"repeated") != 1 || n.count(obs.ExchangeFound) != 1 {
			t.Error("not counted")
		}
		n.want.Store(0)
		n.x.Recommended(other.ID(), [][]byte{signed(t, 8, addr)})
		if err := n.x.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		n.want.Store(9)
		n.x.Recommended(other.ID(), [][]byte{signed(t, 9, addr)})
		if found, _ := n.told(); len(found) != 1 {
			t.Errorf("%v, though none is wanted", found)
		}
	})
}
