package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// meshed tells how many sessions there are of those of a full mesh.
func meshed(nodes []*node) (have, of int) {
	for _, n := range nodes {
		have += len(n.list())
	}
	return have, len(nodes) * (len(nodes) - 1)
}

func TestMeshThroughOneBootNode(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		link  testnet.Link
		limit time.Duration
	}{
		{"five on one machine", 5, testnet.Link{}, time.Second},
		{"five near", 5, testnet.Link{Latency: 5 * time.Millisecond}, time.Second},
		{"five far", 5, testnet.Link{Latency: 100 * time.Millisecond, Jitter: 50 * time.Millisecond}, 3 * time.Second},
		{"twelve", 12, testnet.Link{Latency: 30 * time.Millisecond}, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNet(testnet.WithLink(c.link))
				var nodes []*node
				for i := range c.nodes {
					nodes = append(nodes, newNode(t, net.Host(t, net.Node(i)), setup{want: 50, dials: true}))
				}
				start := time.Now()
				for _, n := range nodes[1:] {
					go n.Connect(t.Context(), testnet.Info(nodes[0].Host))
				}
				for have, of := meshed(nodes); have < of; have, of = meshed(nodes) {
					if time.Since(start) > c.limit {
						t.Fatalf("%d of %d sessions after %v", have, of, c.limit)
					}
					time.Sleep(10 * time.Millisecond) // virtual
				}
				t.Logf("full mesh after %v", time.Since(start))
				for i, n := range nodes {
					if _, faults := n.told(); len(faults) > 0 {
						t.Errorf("node %d: %v", i, faults)
					}
				}
			})
		})
	}
}

// A node that comes when the retries of the others are over is found by its own
// asking, and those who did not dial it learn nothing new by that.
func TestLateNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet(testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond}))
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		early := newNode(t, net.Host(t, net.Node(1)), setup{want: 10, change: func(c *Config) {
			c.Interval = 10 * time.Minute
		}})
		connect(t, early, boot)
		time.Sleep(time.Minute)
		late := newNode(t, net.Host(t, net.Node(2)), setup{want: 10})
		connect(t, late, boot)
		time.Sleep(time.Second)
		found, _ := late.told()
		if len(found) != 1 || found[0].ID != early.ID() {
			t.Fatalf("late node found %v", found)
		}
		if want := testnet.Multiaddr(net.Node(1)); len(found[0].Addrs) != 1 || !found[0].Addrs[0].Equal(want) {
			t.Errorf("with addresses %v, want %v", found[0].Addrs, want)
		}
		if found, _ := early.told(); len(found) != 0 {
			t.Errorf("early node found %v without asking", found)
		}
		time.Sleep(12 * time.Minute) // the periodic ask
		if found, _ := early.told(); len(found) == 0 || found[0].ID != late.ID() {
			t.Errorf("early node found %v", found)
		}
	})
}

func TestNobodyIsAskedWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		for i := range 3 {
			connect(t, newNode(t, net.Host(t, net.Node(i+1)), setup{want: 1}), boot)
		}
		time.Sleep(10 * time.Minute)
		if n := boot.count(obs.ExchangeAnswered); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// A peer that is connected and no member, or not yet, is not asked.
func TestOnlyMembersAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(0)), setup{want: 10})
		h := net.Host(t, net.Node(1))
		n.x.Met(h.ID())
		synctest.Wait()
		if got := n.count(obs.ExchangeAsked); got != 0 {
			t.Errorf("asked %d times", got)
		}
		connect(t, n, h)
		time.Sleep(time.Second)
		if got := n.count(obs.ExchangeAsked); got == 0 {
			t.Error("a member was not asked")
		}
	})
}

// A candidate that became a peer and left may be handed on again at once.
func TestLostPeersAreHandedOnAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		other := newNode(t, net.Host(t, net.Node(1)), setup{})
		connect(t, other, boot)
		asker := newNode(t, net.Host(t, net.Node(2)), setup{want: 10, change: func(c *Config) {
			c.OfferAgain = time.Hour
		}})
		connect(t, asker, boot)
		time.Sleep(10 * time.Second)
		connect(t, asker, other)
		time.Sleep(10 * time.Second)
		asker.Network().ClosePeer(other.ID())
		time.Sleep(time.Minute) // a periodic ask
		if found, _ := asker.told(); len(found) != 2 {
			t.Errorf("handed on %d times", len(found))
		}
	})
}

// What is known of a peer goes when it does.
func TestDepartedPeersAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		gone := newNode(t, net.Host(t, net.Node(1)), setup{})
		connect(t, gone, boot)
		synctest.Wait()
		if boot.x.book.get(gone.ID()) == nil {
			t.Fatal("no record of a connected peer")
		}
		gone.Network().ClosePeer(boot.ID())
		synctest.Wait()
		if boot.x.book.get(gone.ID()) != nil {
			t.Error("record of a departed peer")
		}
		late := newNode(t, net.Host(t, net.Node(2)), setup{want: 10})
		connect(t, late, boot)
		time.Sleep(time.Minute)
		if found, _ := late.told(); len(found) != 0 {
			t.Errorf("found %v", found)
		}
	})
}

func TestAllowDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		connect(t, newNode(t, net.Host(t, net.Node(1)), setup{}), boot)
		asker := newNode(t, net.Host(t, net.Node(2)), setup{want: 10, change: func(c *Config) {
			c.Allow = func(peer.ID, ma.Multiaddr) bool { return false }
		}})
		connect(t, asker, boot)
		time.Sleep(time.Minute)
		if found, _ := asker.told(); len(found) != 0 {
			t.Errorf("found %v", found)
		}
		if asker.count(obs.ExchangeDropped+string(dropAddress)) == 0 {
			t.Error("nothing was dropped for its addresses")
		}
	})
}

func TestCandidatesAreHandedOnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		connect(t, newNode(t, net.Host(t, net.Node(1)), setup{}), boot)
		asker := newNode(t, net.Host(t, net.Node(2)), setup{want: 10})
		connect(t, asker, boot)
		time.Sleep(50 * time.Second)
		if n := asker.count(obs.ExchangeAsked); n < 5 {
			t.Errorf("asked %d times", n)
		}
		if found, _ := asker.told(); len(found) != 1 {
			t.Errorf("handed on %v", found)
		}
		time.Sleep(3 * time.Hour)
		if found, _ := asker.told(); len(found) > 9 {
			t.Errorf("handed on %d times in three hours", len(found))
		}
	})
}

func TestLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(0)), setup{idle: true})
		n.x.Met("somebody")
		if err := n.x.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.x.Start(); !errors.Is(err, ErrStarted) {
			t.Errorf("second start: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		if err := n.x.Close(gone); err != nil {
			t.Errorf("close: %v", err)
		}
		cancel()
		if err := n.x.Close(gone); err != nil {
			t.Errorf("second close: %v", err)
		}
		if err := n.x.Start(); !errors.Is(err, ErrClosed) || !errors.Is(err, errClosedByNet) {
			t.Errorf("start after close: %v", err)
		}
		n.x.Met("somebody")
		for _, p := range n.Mux().Protocols() {
			if p == Protocol(testNetwork) {
				t.Error("the handler is still there")
			}
		}
	})
}

var errClosedByNet = net.ErrClosed

func TestCloseWithoutStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(0)), setup{idle: true})
		if err := n.x.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Close ends asks and answers that wait for the other side.
func TestCloseDuringExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		a := newNode(t, net.Host(t, net.Node(0)), setup{want: 10, change: func(c *Config) { c.Timeout = time.Hour }})
		mute := net.Host(t, net.Node(1))
		silent := silence(mute)
		defer silent.release()
		connect(t, a, mute)
		synctest.Wait() // for a to have heard of it
		s, err := mute.NewStream(t.Context(), a.ID(), Protocol(testNetwork))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		s.Write([]byte{5}) // the beginning of a request
		time.Sleep(time.Second)
		start := time.Now()
		if err := a.x.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("close took %v", d)
		}
		if _, faults := a.told(); len(faults) > 0 {
			t.Errorf("closing was taken for faults: %v", faults)
		}
	})
}

// A callback that does not return holds Close up as long as its context allows.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		stuck := make(chan struct{})
		n := newNode(t, net.Host(t, net.Node(0)), setup{change: func(c *Config) {
			c.Want = func() int { <-stuck; return 0 }
		}})
		n.x.Met("somebody")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := n.x.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		close(stuck)
		if err := n.x.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestPanicsOfCallbacks(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"Member":   func(c *Config) { c.Member = func(peer.ID) bool { panic("x") } },
		"Sessions": func(c *Config) { c.Sessions = func() []peer.ID { panic("x") } },
		"Want":     func(c *Config) { c.Want = func() int { panic("x") } },
		"Found":    func(c *Config) { c.Found = func(peer.ID, peer.AddrInfo, uint64) { panic("x") } },
		"Allow":    func(c *Config) { c.Allow = func(peer.ID, ma.Multiaddr) bool { panic("x") } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNet()
				a := newNode(t, net.Host(t, net.Node(0)), setup{want: 10, change: change})
				b := newNode(t, net.Host(t, net.Node(1)), setup{want: 10})
				c := newNode(t, net.Host(t, net.Node(2)), setup{want: 10})
				connect(t, c, b)
				connect(t, b, a)
				time.Sleep(10 * time.Minute)
				if n := a.count(obs.ExchangePanics); n < 4 {
					t.Errorf("%d panics: the exchange did not go on", n)
				}
				a.x.mu.Lock()
				if n := a.x.desk.total; n != 0 {
					t.Errorf("%d answers are under way", n)
				}
				a.x.mu.Unlock()
				if !a.member(b.ID()) {
					t.Error("the session is gone")
				}
			})
		})
	}
}

func TestPanickingPenalise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := pair(t, setup{want: 10, change: func(c *Config) {
			c.Penalise = func(peer.ID, error) { panic("x") }
		}}, func(h host.Host) { answering(h, []byte("\xff\xff\xff\xff")) })
		time.Sleep(10 * time.Minute)
		if got := n.count(obs.ExchangePanics); got < 10 {
			t.Errorf("%d panics: the exchange did not go on", got)
		}
	})
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Interval: -1, PerSource: -1})
	fields := map[string]bool{}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var ce *setting.Error
		if !errors.As(e, &ce) {
			t.Fatalf("%v is no setting.Error", e)
		}
		fields[ce.Field] = true
	}
	for _, f := range []string{"Host", "Network", "Member", "Sessions", "Want", "Found", "Interval", "PerSource"} {
		if !fields[f] {
			t.Errorf("%s is not named in %v", f, err)
		}
	}
}

// What a session peer says of itself in its session is what others are told, and the
// owner hears of it: its last word, whatever the number, and not later than now. What
// identify brings counts if its number is greater.
func TestOwnWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		moved, err := net.Key(net.Node(1))
		if err != nil {
			t.Fatal(err)
		}
		type told struct {
			peer.AddrInfo
			seq uint64
		}
		own := make(chan told, 16) // Own is called by whoever brings a record
		boot := newNode(t, net.Host(t, net.Node(0)), setup{change: func(c *Config) {
			c.Own = func(ai peer.AddrInfo, seq uint64) { own <- told{ai, seq} }
		}})
		h := net.Host(t, net.Node(1))
		connect(t, newNode(t, h, setup{}), boot)
		time.Sleep(time.Second)
		if len(own) == 0 {
			t.Fatal("identify brought no record")
		}
		drain := func() (seq uint64) {
			for len(own) > 0 {
				seq = (<-own).seq
			}
			return seq
		}
		seq := drain()
		asker := newNode(t, net.Host(t, net.Node(2)), setup{want: 4})
		for _, c := range []struct {
			name     string
			identify bool
			seq      uint64
			addr     string
			want     string // none when nobody hears of it
		}{
			{"newer", false, seq + 1, "/ip4/5.77.7.7/tcp/4001", "/ip4/5.77.7.7/tcp/4001"},
			{"of an hour ahead", false, seq + uint64(time.Hour), "/ip4/5.66.6.6/tcp/4001", "/ip4/5.66.6.6/tcp/4001"},
			{"with a smaller number", false, seq + 2, "/ip4/5.55.5.5/tcp/4001", "/ip4/5.55.5.5/tcp/4001"},
			{"by identify, with a smaller number", true, 1, "/ip4/5.88.8.8/tcp/4001", "/ip4/5.55.5.5/tcp/4001"},
			{"by identify, with a greater number", true, seq + 3, "/ip4/5.99.9.9/tcp/4001", "/ip4/5.99.9.9/tcp/4001"},
			{"last", false, seq + 2, "/ip4/5.55.5.5/tcp/4001", "/ip4/5.55.5.5/tcp/4001"},
		} {
			env, err := record.Seal(&peer.PeerRecord{PeerID: h.ID(), Seq: c.seq, Addrs: multiaddrs(c.addr)}, moved)
			if err != nil {
				t.Fatal(err)
			}
			if c.identify {
				boot.x.book.follow(event.EvtPeerIdentificationCompleted{Peer: h.ID(), SignedPeerRecord: env})
				boot.x.Met(h.ID())
			} else if raw, err := env.Marshal(); err != nil {
				t.Fatal(err)
			} else if _, err := boot.x.Told(h.ID(), raw); err != nil {
				t.Fatal(err)
			}
			ai := <-own
			if ai.ID != h.ID() || len(ai.Addrs) != 1 || ai.Addrs[0].String() != c.want {
				t.Errorf("%s: the owner hears of %v, want %s", c.name, ai, c.want)
			}
			if now := uint64(time.Now().UnixNano()); ai.seq > now {
				t.Errorf("%s: as of %s from now", c.name, time.Duration(ai.seq-now))
			}
		}
		connect(t, asker, boot)
		time.Sleep(5 * time.Second)
		found, _ := asker.told()
		if len(found) != 1 || found[0].Addrs[0].String() != "/ip4/5.55.5.5/tcp/4001" {
			t.Errorf("others are told of %v", found)
		}
		if err := boot.x.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		drain()
		if _, err := boot.x.Told(h.ID(), seal(t, moved, &peer.PeerRecord{PeerID: h.ID(), Seq: 9, Addrs: multiaddrs("/ip4/5.44.4.4/tcp/1")})); err != nil {
			t.Fatal(err)
		}
		if len(own) > 0 {
			t.Error("told after Close")
		}
	})
}

// Several records of one peer at once: the last that the owner hears is the one that
// is kept.
func TestOwnWordsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		key, err := net.Key(net.Node(1))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards last
		var last string
		boot := newNode(t, net.Host(t, net.Node(0)), setup{change: func(c *Config) {
			c.Own = func(ai peer.AddrInfo, _ uint64) {
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // of the bubble: it is overtaken
				mu.Lock()
				last = ai.Addrs[0].String()
				mu.Unlock()
			}
		}})
		h := net.Host(t, net.Node(1))
		connect(t, newNode(t, h, setup{}), boot)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for i := range 20 {
			raw := seal(t, key, &peer.PeerRecord{PeerID: h.ID(), Seq: uint64(i), Addrs: multiaddrs(fmt.Sprintf("/ip4/5.7.7.%d/tcp/1", i))})
			wg.Go(func() {
				if _, err := boot.x.Told(h.ID(), raw); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if kept := boot.x.book.get(h.ID()).Addrs[0].String(); last != kept {
			t.Errorf("the owner has heard %s, kept is %s", last, kept)
		}
	})
}

// What no honest peer tells of itself is a fault, and changes nothing.
func TestToldFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		boot := newNode(t, net.Host(t, net.Node(0)), setup{})
		h := net.Host(t, net.Node(1))
		key, err := net.Key(net.Node(1))
		if err != nil {
			t.Fatal(err)
		}
		connect(t, newNode(t, h, setup{}), boot)
		time.Sleep(time.Second)
		kept := boot.x.book.get(h.ID())
		if kept == nil {
			t.Fatal("identify brought no record")
		}
		rec := recordOf(h.ID(), many(maxOwnAddrs+1, "/ip4/5.0.1.1/tcp/4001")...)
		forged := bytes.Clone(kept.raw)
		forged[len(forged)-1] ^= 1
		for name, raw := range map[string][]byte{
			"junk":           []byte("junk"),
			"another peer's": signed(t, 7, "/ip4/5.0.1.1/tcp/4001"),
			"many addresses": seal(t, key, rec),
			"forged":         forged,
		} {
			if _, err := boot.x.Told(h.ID(), raw); !is(err, FaultRecord) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := boot.x.Told(h.ID(), make([]byte, maxOwn+1)); !is(err, FaultOversize) {
			t.Errorf("long: %v", err)
		}
		if boot.x.book.get(h.ID()) != kept {
			t.Error("it is kept")
		}
		// What comes when the peer has left is not kept either.
		h.Network().ClosePeer(boot.ID())
		synctest.Wait()
		if _, err := boot.x.Told(h.ID(), kept.raw); err != nil {
			t.Error(err)
		}
		if boot.x.book.get(h.ID()) != nil {
			t.Error("record of a departed peer")
		}
	})
}
