package netservice_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

type span struct{ From, N uint64 }

var items = netservice.DeclareStream("items", netservice.JSON[span](), netservice.Raw())

// item is what honest nodes have under an index.
func item(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("item "), i) }

// serveItems serves items up to most as make makes them.
func serveItems(t *testing.T, s *netservice.NebService, most uint64, make func(i uint64) ([]byte, error)) {
	t.Helper()
	if _, err := items.Serve(s, func(_ context.Context, _ peer.ID, r span) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for i := r.From; i < min(r.From+r.N, most); i++ {
				if b, err := make(i); !yield(b, err) || err != nil {
					return
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func checkItem(i uint64, b []byte) error {
	if string(b) != string(item(i)) {
		return fmt.Errorf("not item %d", i)
	}
	return nil
}

func fetchFrom(s *netservice.NebService) func(ctx context.Context, p peer.ID, from, n uint64) iter.Seq2[[]byte, error] {
	return func(ctx context.Context, p peer.ID, from, n uint64) iter.Seq2[[]byte, error] {
		return items.Call(ctx, s, p, span{from, n})
	}
}

// From honest peers, slow ones, liars, those that die and those that know less, a
// range comes whole and in order; the liars are banned.
func TestDownload(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		const n = 2000
		good := func(i uint64) ([]byte, error) { return item(i), nil }
		client := net.Add(chain(), quiet())
		var dying *nettest.Node
		var liars []peer.ID
		for i := range 9 {
			nd := net.Add(booted(client), quiet())
			most, make := uint64(n), good
			switch i {
			case 0:
				make = func(i uint64) ([]byte, error) { time.Sleep(2 * time.Second); return item(i), nil }
			case 1, 2:
				liars = append(liars, nd.ID())
				make = func(i uint64) ([]byte, error) {
					if i%50 == 49 {
						return item(i + 1), nil
					}
					return item(i), nil
				}
			case 3:
				dying = nd
			case 4:
				most = 100
			case 5:
				make = func(i uint64) ([]byte, error) {
					if i%3 == 0 {
						return nil, netservice.ErrBusy
					}
					return item(i), nil
				}
			}
			serveItems(t, nd.Service(), most, make)
		}
		net.Start()
		client.WaitForPeers(9)
		var last netservice.DownloadProgress
		d := netservice.Download[[]byte]{
			From: 3, To: n, Fetch: fetchFrom(client.Service()), Verify: checkItem, Chunk: 20,
			Progress: func(p netservice.DownloadProgress) { last = p },
		}
		want := d.From
		began := time.Now()
		for b, err := range d.Run(t.Context(), client.Service()) {
			if err != nil {
				t.Fatal(want, err)
			}
			if err := checkItem(want, b); err != nil {
				t.Fatal(err)
			}
			if want++; want == 200 {
				dying.Crash()
			}
			if want == 1000 { // what was interrupted goes on
				break
			}
		}
		d.From = want
		for b, err := range d.Run(t.Context(), client.Service()) {
			if err != nil || checkItem(want, b) != nil {
				t.Fatal(want, string(b), err)
			}
			want++
		}
		if want != n {
			t.Error("ends at", want)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("took %s", took)
		}
		if last.Done != n-1000 || last.Total != last.Done || len(last.ByPeer) < 3 || last.Rate <= 0 {
			t.Errorf("%+v", last)
		}
		for _, p := range client.Service().Peers() {
			if slices.Contains(liars, p.ID) {
				t.Error("a liar is a peer")
			}
		}
	})
}

// What does not follow is taken back and asked of another peer.
func TestDownloadFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		client := net.Add(chain(), quiet())
		for i := range 3 {
			nd := net.Add(booted(client), quiet())
			serveItems(t, nd.Service(), 300, func(k uint64) ([]byte, error) {
				if i == 0 && k > 5 {
					return item(k - 1), nil
				}
				return item(k), nil
			})
		}
		net.Start()
		client.WaitForPeers(3)
		want := uint64(0)
		for b, err := range (netservice.Download[[]byte]{
			To: 300, Fetch: fetchFrom(client.Service()), Follow: checkItem,
		}).Run(t.Context(), client.Service()) {
			if err != nil || checkItem(want, b) != nil {
				t.Fatal(want, string(b), err)
			}
			want++
		}
		if want != 300 {
			t.Error(want)
		}
	})
}

func TestDownloadFails(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		client := net.Add(chain(), quiet())
		other := net.Add(booted(client), quiet())
		serveItems(t, other.Service(), 10, func(i uint64) ([]byte, error) { return item(i), nil })
		net.Start()
		client.WaitForPeers(1)
		run := func(ctx context.Context, d netservice.Download[[]byte]) (n int, last error) {
			for _, err := range d.Run(ctx, client.Service()) {
				if last = err; err == nil {
					n++
				}
			}
			return n, last
		}
		d := netservice.Download[[]byte]{To: 20, Fetch: fetchFrom(client.Service())}
		began := time.Now()
		if n, err := run(t.Context(), d); n != 10 || !errors.Is(err, netservice.ErrNoProgress) || time.Since(began) < time.Minute {
			t.Error(n, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := run(ctx, d); n != 10 || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(n, err)
		}
		if n, err := run(t.Context(), netservice.Download[[]byte]{From: 5, To: 5, Fetch: d.Fetch}); n != 0 || err != nil {
			t.Error("nothing to do:", n, err)
		}
		for _, bad := range []netservice.Download[[]byte]{{To: 3}, {From: 2, To: 1, Fetch: d.Fetch}, {To: 3, Fetch: d.Fetch, Chunk: -1}} {
			if _, err := run(t.Context(), bad); err == nil {
				t.Errorf("%+v", bad)
			} else if _, ok := errors.AsType[*netservice.ConfigError](err); !ok {
				t.Error(err)
			}
		}
		client.Stop()
		if _, err := run(t.Context(), d); !errors.Is(err, netservice.ErrStopped) {
			t.Error(err)
		}
	})
}

// Any finds an answer among peers that fail, lie and sleep.
func TestAny(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		get := netservice.DeclareMethod("get", netservice.JSON[int](), netservice.JSON[int]())
		client := net.Add(chain(), quiet())
		var asked [5]atomic.Int64
		nodes := make([]*nettest.Node, 5)
		for i := range nodes {
			cfg := booted(client)
			if i > 0 {
				cfg.Capabilities = []string{"archive"}
			}
			nodes[i] = net.Add(cfg, quiet())
			if _, err := get.Serve(nodes[i].Service(), func(ctx context.Context, _ peer.ID, n int) (int, error) {
				asked[i].Add(1)
				switch i {
				case 1:
					return 0, netservice.ErrNotFound
				case 2:
					return 666, nil
				case 3:
					<-ctx.Done() // never answers
					return 0, ctx.Err()
				}
				return n + 1, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		net.Start()
		client.WaitForPeers(5)
		policy := netservice.Policy[int]{
			Capability: "archive", Attempts: 5, Hedge: 300 * time.Millisecond,
			Accept: func(_ peer.ID, n int) error {
				if n == 666 {
					return errors.New("a lie")
				}
				return nil
			},
		}
		for range 40 {
			began := time.Now()
			n, from, err := get.Any(t.Context(), client.Service(), 41, policy)
			if n != 42 || from != nodes[4].ID() || err != nil || time.Since(began) > time.Second {
				t.Fatal(n, from, err, time.Since(began))
			}
		}
		if asked[0].Load() != 0 {
			t.Error("a peer without the capability was asked")
		}
		if n := asked[3].Load(); n > 5 {
			t.Errorf("the peer that never answers was asked %d times", n)
		}
		policy.Filter = func(p netservice.PeerInfo) bool { return p.ID == nodes[1].ID() || p.ID == nodes[2].ID() }
		if _, _, err := get.Any(t.Context(), client.Service(), 41, policy); !errors.Is(err, netservice.ErrNotFound) || !errors.Is(err, netservice.ErrBadAnswer) {
			t.Error(err)
		}
		policy.Filter = func(netservice.PeerInfo) bool { return false }
		if _, _, err := get.Any(t.Context(), client.Service(), 41, policy); !errors.Is(err, netservice.ErrNoPeers) {
			t.Error(err)
		}
	})
}
