package discovery

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// silent keeps the streams of a handler open without a word.
type silent struct {
	mu      sync.Mutex // guards streams
	streams []network.Stream
}

func silence(h host.Host) *silent {
	k := &silent{}
	h.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
		k.mu.Lock()
		k.streams = append(k.streams, s)
		k.mu.Unlock()
	})
	return k
}

func (k *silent) release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.streams {
		s.Reset()
	}
}

// pair gives a node with a session to a host whose behaviour is the test's.
func pair(t *testing.T, s setup, behave func(h host.Host)) (*node, host.Host) {
	t.Helper()
	net := newNet(testnet.WithLink(testnet.Link{Latency: time.Millisecond}))
	n := newNode(t, net.Host(t, net.Node(1)), s)
	h := net.Host(t, net.Node(2))
	if behave != nil {
		behave(h)
	}
	connect(t, n, h)
	return n, h
}

func TestBadReplies(t *testing.T) {
	good := signed(t, 1, "/ip4/5.9.1.1/tcp/4001")
	frame := func(records ...[]byte) []byte { return appendFrame(nil, encodeReply(records)) }
	several := func(n int) (records [][]byte) {
		for i := range n {
			records = append(records, signed(t, 100+i, fmt.Sprintf("/ip4/5.9.%d.1/tcp/4001", i)))
		}
		return records
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name  string
		reply []byte
		want  Fault
	}{
		{"oversized frame", protowire.AppendVarint(nil, 1<<40), FaultOversize},
		{"oversized record", frame(signed(t, 1, many(400, "/ip4/5.9.1.1/tcp/4001")...)), FaultOversize},
		{"more than was asked for", frame(several(MaxRecords + 1)...), FaultCount},
		{"a peer twice", frame(good, good), FaultCount},
		{"not a message", appendFrame(nil, []byte("\xff\xff")), FaultMalformed},
		{"forged", frame(several(1)[0], forged), FaultRecord},
		{"second reply", append(frame(), frame(good)...), FaultTrailing},
		{"cut", frame(good)[:20], FaultTruncated},
		{"silence", nil, FaultTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _ := pair(t, setup{want: 100}, func(h host.Host) { answering(h, c.reply) })
				time.Sleep(100 * time.Millisecond)
				found, faults := n.told()
				if len(found) != 0 {
					t.Errorf("handed on %v", found)
				}
				if len(faults) != 1 || !is(faults[0], c.want) {
					t.Errorf("faults %v, want %v", faults, c.want)
				}
				if got := n.count(obs.ExchangeFaults + c.want.String()); got != 1 {
					t.Errorf("counted %d", got)
				}
			})
		})
	}
}

// Records that are in order but of no use are dropped one by one.
func TestUselessRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(1)), setup{want: 100})
		h := net.Host(t, net.Node(2))
		own, err := net.Key(net.Node(1))
		if err != nil {
			t.Fatal(err)
		}
		relayer, err := net.Key(net.Node(2))
		if err != nil {
			t.Fatal(err)
		}
		answering(h, appendFrame(nil, encodeReply([][]byte{
			seal(t, own, recordOf(n.ID(), "/ip4/5.9.1.1/tcp/1")),
			seal(t, relayer, recordOf(h.ID(), "/ip4/5.9.2.1/tcp/1")),
			signed(t, 1, "/dns4/victim.example/tcp/443"),
			signed(t, 2),
			signed(t, 3, "/dns4/victim.example/tcp/443", "/ip4/5.9.3.1/tcp/4001"),
		})))
		connect(t, n, h)
		time.Sleep(100 * time.Millisecond)
		found, faults := n.told()
		if len(faults) != 0 {
			t.Errorf("faults %v", faults)
		}
		if _, id := key(t, 3); len(found) != 1 || found[0].ID != id || len(found[0].Addrs) != 1 {
			t.Errorf("handed on %v", found)
		}
		for v, want := range map[outcome]int64{dropSelf: 1, dropMember: 1, dropAddress: 2} {
			if got := n.count(obs.ExchangeDropped + string(v)); got != want {
				t.Errorf("%d dropped as %s, want %d", got, v, want)
			}
		}
	})
}

// A peer with ever new candidates is heard out to its share of the hour.
func TestFloodOfCandidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int64 // by handlers of streams, one after the other or not
		n, _ := pair(t, setup{want: 1000, change: func(c *Config) { c.Interval = time.Second }}, func(h host.Host) {
			h.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
				var records [][]byte
				for range MaxRecords {
					i := int(told.Add(1) - 1)
					records = append(records, signed(t, i, fmt.Sprintf("/ip4/5.%d.%d.1/tcp/4001", 10+i/200, i%200)))
				}
				io.ReadAll(s)
				s.Write(appendFrame(nil, encodeReply(records)))
				s.Close()
			})
		})
		time.Sleep(2 * time.Minute)
		found, faults := n.told()
		if len(found) < DefaultPerSource || len(found) > DefaultPerSource+4 {
			t.Errorf("handed on %d of %d in two minutes", len(found), told.Load())
		}
		if len(faults) != 0 {
			t.Errorf("faults %v", faults)
		}
	})
}

// Neither silence nor a byte now and then holds an ask longer than its time.
func TestSlowAnswerer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := pair(t, setup{want: 10}, func(h host.Host) {
			h.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
				for _, b := range appendFrame(nil, make([]byte, 1000)) {
					if _, err := s.Write([]byte{b}); err != nil {
						break
					}
					time.Sleep(3 * time.Second)
				}
				s.Reset()
			})
		})
		time.Sleep(DefaultTimeout + time.Second)
		if got := n.count(obs.ExchangeFailed); got != 1 {
			t.Errorf("%d asks failed", got)
		}
		if _, faults := n.told(); len(faults) != 0 {
			t.Errorf("being slow is no fault: %v", faults)
		}
		h.Close()
		time.Sleep(5 * time.Second) // its handlers end
	})
}

func TestSlowAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := pair(t, setup{}, nil)
		s, err := h.NewStream(t.Context(), n.ID(), Protocol(testNetwork))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		start := time.Now()
		s.Write([]byte{100})
		if _, err := io.ReadAll(s); err == nil {
			t.Error("answered without a request")
		}
		if d := time.Since(start); d < DefaultTimeout || d > DefaultTimeout+time.Second {
			t.Errorf("reset after %v", d)
		}
	})
}

func TestStrangersAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(1)), setup{})
		stranger := net.Host(t, net.Node(2))
		connect(t, stranger, n)
		synctest.Wait()
		ask := appendFrame(nil, encodeRequest(1))
		if _, err := request(t.Context(), stranger, n, ask); err != nil {
			t.Fatalf("as a member: %v", err)
		}
		n.mu.Lock()
		clear(n.sessions)
		n.mu.Unlock()
		if got, err := request(t.Context(), stranger, n, ask); err == nil {
			t.Errorf("a stranger was told %q", got)
		}
		if got := n.count(obs.ExchangeRefused + string(refusedMember)); got != 1 {
			t.Errorf("counted %d", got)
		}
	})
}

func TestBadRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want Fault
	}{
		{"oversized", protowire.AppendVarint(nil, maxRequest+1), FaultOversize},
		{"for nothing", appendFrame(nil, encodeRequest(0)), FaultMalformed},
		{"garbage", appendFrame(nil, []byte("\xff")), FaultMalformed},
		{"cut", []byte{9, 1}, FaultTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, h := pair(t, setup{}, nil)
				synctest.Wait()
				if got, err := request(t.Context(), h, n, c.raw); err == nil {
					t.Errorf("answered %q", got)
				}
				synctest.Wait()
				if _, faults := n.told(); len(faults) != 1 || !is(faults[0], c.want) {
					t.Errorf("faults %v, want %v", faults, c.want)
				}
			})
		})
	}
}

func TestRequestFloodIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := pair(t, setup{}, nil)
		synctest.Wait()
		answered := 0
		for range 200 {
			synctest.Wait() // the answer before has left its place
			if _, err := request(t.Context(), h, n, appendFrame(nil, encodeRequest(16))); err == nil {
				answered++
			}
		}
		if answered < answerBurst || answered > answerBurst+2 {
			t.Errorf("answered %d of 200", answered)
		}
		if got := n.count(obs.ExchangeRefused + string(refusedRate)); got != int64(200-answered) {
			t.Errorf("counted %d", got)
		}
	})
}

// An answer holds what was asked for and not the asker.
func TestAnswerOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNet()
		n := newNode(t, net.Host(t, net.Node(0)), setup{})
		var hosts []host.Host
		for i := range 20 {
			h := net.Host(t, net.Node(i+1))
			connect(t, h, n)
			hosts = append(hosts, h)
		}
		synctest.Wait()
		for _, c := range []struct{ ask, want int }{{1, 1}, {5, 5}, {16, 16}, {1 << 20, 16}} {
			synctest.Wait() // the answer before has left its place
			raw, err := request(t.Context(), hosts[0], n, appendFrame(nil, encodeRequest(c.ask)))
			if err != nil {
				t.Fatal(err)
			}
			body, n := protowire.ConsumeBytes(raw)
			if n != len(raw) {
				t.Fatalf("%d bytes, of which the frame is %d", len(raw), n)
			}
			records, err := decodeReply(body, MaxRecords)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) != c.want {
				t.Errorf("asked for %d, got %d", c.ask, len(records))
			}
			parsed, err := newBook(nil).parseAll(records)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range parsed {
				if rec.PeerID == hosts[0].ID() {
					t.Error("the asker is in the answer")
				}
			}
		}
	})
}
