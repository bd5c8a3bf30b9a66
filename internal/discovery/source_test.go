package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

const (
	idA = "12D3KooWFgCT4DUyCaMUamuwrDjZh7c875CWYbCtDz9L9PNEAaaj"
	idB = "12D3KooWF6nEPL4rNYoHN6Kfwyh3YVRSBEanhMMMhgmKxQBnKb7F"
)

type asked func(ctx context.Context, want int, found func(peer.AddrInfo)) error

func (asked) Name() string { return "test" }

func (a asked) Find(ctx context.Context, want int, found func(peer.AddrInfo)) error {
	return a(ctx, want, found)
}

// A source is asked while peers are wanted, ever more rarely when nothing new
// comes, soon again when something does; and it can neither flood nor crash.
func TestPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var finds, found, want atomic.Int64
		var fresh atomic.Bool
		p := NewPoller(asked(func(ctx context.Context, n int, f func(peer.AddrInfo)) error {
			if int64(n) != want.Load() {
				t.Errorf("asked for %d", n)
			}
			switch finds.Add(1) % 4 {
			case 1:
				panic("x")
			case 2:
				return errors.New("x")
			}
			for i := range 1000 {
				f(peer.AddrInfo{ID: peer.ID(fmt.Sprint(i))})
			}
			return nil
		}), PollerConfig{
			Want:  func() int { return int(want.Load()) },
			Found: func(peer.AddrInfo) bool { found.Add(1); return fresh.Load() },
		})
		p.Start()
		time.Sleep(time.Hour)
		if finds.Load() != 0 {
			t.Errorf("asked %d times while nobody is wanted", finds.Load())
		}
		want.Store(3)
		time.Sleep(time.Hour)
		if n := finds.Load(); n < 12 || n > 40 {
			t.Errorf("asked %d times in an hour without success", n)
		}
		if per := found.Load() / max(finds.Load()/2, 1); per > 2*maxFound {
			t.Errorf("%d are taken of one find", per)
		}
		fresh.Store(true)
		finds.Store(2)
		time.Sleep(5 * time.Minute)
		before := finds.Load()
		time.Sleep(time.Minute)
		if n := finds.Load() - before; n < 4 {
			t.Errorf("asked %d times in a minute of success", n)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := NewPoller(asked(nil), PollerConfig{}).Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A source that does not end is named by who waits for it.
func TestPollerIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		p := NewPoller(asked(func(context.Context, int, func(peer.AddrInfo)) error { <-free; return nil }),
			PollerConfig{Want: func() int { return 1 }, Found: func(peer.AddrInfo) bool { return true }})
		p.Start()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(free)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDNS(t *testing.T) {
	records := map[string][]string{
		"_dnsaddr.good.example.": {
			"dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/" + idA, "dnsaddr=/ip4/192.0.2.1/udp/1/quic-v1/p2p/" + idA,
			"dnsaddr=/dnsaddr/more.example", "dnsaddr=/ip4/192.0.2.9/tcp/1", "something else", "dnsaddr=nonsense",
		},
		"_dnsaddr.more.example.": {"dnsaddr=/dns4/b.example/tcp/1/p2p/" + idB, "dnsaddr=/dnsaddr/good.example"},
	}
	for i := range 100 {
		next := fmt.Sprintf("_dnsaddr.chain%d.example.", i)
		records[next] = []string{fmt.Sprintf("dnsaddr=/dnsaddr/chain%d.example", i+1)}
		records["_dnsaddr.flood.example."] = append(records["_dnsaddr.flood.example."], fmt.Sprintf("dnsaddr=/ip4/192.0.2.1/tcp/%d/p2p/%s", i+1, idA))
	}
	var looked atomic.Int64
	backend := resolverFunc(func(name string) ([]string, error) {
		looked.Add(1)
		if r, ok := records[strings.TrimSuffix(name, ".")+"."]; ok {
			return r, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	})
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(backend))
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) (got []string, n int, err error) {
		looked.Store(0)
		err = NewDNS(ma.StringCast("/dnsaddr/"+name), resolver, nil).Find(t.Context(), 5, func(ai peer.AddrInfo) {
			n += len(ai.Addrs)
			got = append(got, ai.ID.String())
		})
		slices.Sort(got)
		return got, n, err
	}
	if got, n, err := find("good.example"); err != nil || n != 3 || !slices.Equal(got, []string{idB, idA}) {
		t.Errorf("%v, %d addresses, %v", got, n, err)
	}
	if _, n, err := find("flood.example"); err != nil || n > maxResolved {
		t.Errorf("%d addresses, %v", n, err)
	}
	if got, _, _ := find("chain0.example"); len(got) != 0 || looked.Load() > maxNames {
		t.Errorf("%v after %d look-ups", got, looked.Load())
	}
	if _, _, err := find("none.example"); err == nil {
		t.Error("a name that is not there")
	}
}

// Who answers at a name without a peer ID is asked for, at some of its addresses.
func TestNameWithoutID(t *testing.T) {
	addrs := hosts{}
	for i := range 20 {
		addrs = append(addrs, net.IPAddr{IP: net.IPv4(192, 0, 2, byte(i))})
	}
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(addrs))
	if err != nil {
		t.Fatal(err)
	}
	a, err := peer.Decode(idA)
	if err != nil {
		t.Fatal(err)
	}
	silent := errors.New("silent")
	var asked []string
	ask := func(_ context.Context, at ma.Multiaddr) (peer.ID, error) {
		asked = append(asked, at.String())
		if len(asked) == 1 {
			return a, nil
		}
		return "", silent
	}
	for _, c := range []struct {
		name, want string
	}{
		{"/dns4/boot.example/tcp/7", "/ip4/192.0.2.0/tcp/7"},
		{"/dns/boot.example/udp/7/quic-v1", "/ip4/192.0.2.0/udp/7/quic-v1"},
	} {
		asked = nil
		var found []peer.AddrInfo
		err := NewDNS(ma.StringCast(c.name), resolver, ask).Find(t.Context(), 5, func(ai peer.AddrInfo) { found = append(found, ai) })
		if err != nil || len(found) != 1 || found[0].ID != a || found[0].Addrs[0].String() != c.want || len(asked) != maxAsked {
			t.Errorf("%s: %v %v, asked at %v", c.name, found, err, asked)
		}
		if err := NewDNS(ma.StringCast(c.name), resolver, ask).Find(t.Context(), 5, nil); !errors.Is(err, silent) {
			t.Errorf("%s, where nobody answers: %v", c.name, err)
		}
	}
}

type hosts []net.IPAddr

func (h hosts) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) { return h, nil }

func (h hosts) LookupTXT(context.Context, string) ([]string, error) {
	return nil, errors.New("not asked for")
}

type resolverFunc func(name string) ([]string, error)

func (f resolverFunc) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return nil, errors.New("not asked for")
}

func (f resolverFunc) LookupTXT(_ context.Context, name string) ([]string, error) { return f(name) }
