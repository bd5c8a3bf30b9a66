package netns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/netservice"
)

// partEnv makes the test binary play a part instead of testing.
const partEnv = "NETNS_TEST_PART"

// part is what a process does.
type part struct {
	Do      string            // node, silence, flood, igd, pmp, line, storm, talk
	Config  netservice.Config // of a node
	Target  string            // of silence and flood: the node's address
	Count   int               // their connections
	From    []string
	Gateway gateway // of igd and pmp
	Line    line    // of line
	First   bool    // of talk: it says what it has to say first
	Serve   bool    // of talk: it is dialled
}

func TestMain(m *testing.M) {
	text := os.Getenv(partEnv)
	if text == "" {
		goleak.VerifyTestMain(m)
		return
	}
	var p part
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = map[string]func() error{"node": p.node, "silence": p.silence, "flood": p.flood, "igd": p.igd, "pmp": p.pmp, "line": p.line, "storm": p.storm, "talk": p.talk}[p.Do]()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// note is the message type of nodes.
var note = netservice.Declare("note", netservice.Raw())

// node runs a service. It says who comes and goes, and does what it is told.
func (p part) node() error {
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := netservice.NewNebService(p.Config, netservice.WithLogger(log))
	if err != nil {
		return err
	}
	var heard atomic.Int64
	told := 0
	_, err = note.Subscribe(s, func(context.Context, netservice.Received[[]byte]) { heard.Add(1) })
	if err != nil {
		return err
	}
	events := s.SubscribePeers()
	page := s.Inspector()
	if err := s.Start(); err != nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	var now, most atomic.Int64
	s.Node().Host().Network().Notify(&network.NotifyBundle{
		ConnectedF: func(network.Network, network.Conn) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		},
		DisconnectedF: func(network.Network, network.Conn) { now.Add(-1) },
	})
	go func() {
		for e := range events.Events() {
			switch e.Kind {
			case netservice.PeerConnected:
				fmt.Println("connected", e.Peer)
			case netservice.PeerDisconnected:
				fmt.Println("disconnected", e.Reason.Label())
			}
		}
	}()
	fmt.Println("address", s.Node().Addrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "connect":
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if err := s.ConnectPeer(ctx, rest); err != nil {
				fmt.Println("failed", err)
			}
			cancel()
		case "say": // to everybody, as each is told
			if _, err := note.SendTo(context.Background(), s, netservice.AllPeers(), []byte(rest)); err != nil {
				fmt.Println("failed", err)
			}
		case "tell": // one peer; what is taken counts
			to, err := peer.Decode(rest)
			if err == nil {
				err = note.Send(context.Background(), s, to, []byte("a note"))
			}
			if err != nil {
				fmt.Println("failed", err)
			} else {
				told++
			}
		case "watch": // as a browser with the page open
			go page.ServeHTTP(nobody{}, httptest.NewRequest(http.MethodGet, "/live", nil))
		case "look":
			rec := httptest.NewRecorder()
			page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, rest, nil))
			var line bytes.Buffer
			if err := json.Compact(&line, rec.Body.Bytes()); err != nil {
				return fmt.Errorf("%s: %w", rest, err)
			}
			fmt.Println("seen", line.String())
		case "pour": // a thousand messages a second to everybody, until the end
			go func() {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						_, _ = note.SendTo(context.Background(), s, netservice.AllPeers(), []byte(rest))
					case <-over:
						return
					}
				}
			}()
		case "report":
			r := report{Told: told, Heard: int(heard.Load()), Goroutines: runtime.NumGoroutine(), Most: int(most.Load()), Now: int(now.Load()), Refused: refused(s.Metrics()), Reach: s.Stats().Reachability, Peers: make(map[string]string)}
			for _, p := range s.Peers() {
				r.Peers[p.ID.String()] = p.Transport
			}
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Println("report", string(text))
		}
	}
	return s.Stop()
}

// nobody is a browser that reads everything and keeps nothing.
type nobody struct{}

func (nobody) Header() http.Header         { return http.Header{} }
func (nobody) WriteHeader(int)             {}
func (nobody) Write(b []byte) (int, error) { return len(b), nil }
func (nobody) Flush()                      {}

// refused is how many connections were refused, for whatever reason.
func refused(r metrics.Registry) (n int64) {
	r.Each(func(name string, m any) {
		if c, ok := m.(metrics.Counter); ok && strings.HasPrefix(name, obs.ConnsRefused) {
			n += c.Count()
		}
	})
	return n
}

// from is where the i-th connection comes from.
func (p part) from(i int) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(p.From[i%len(p.From)])} }

// silence opens sockets and says nothing. It tells how many stand when all have
// been tried, and when none is left.
func (p part) silence() error {
	a, err := ma.NewMultiaddr(p.Target)
	if err != nil {
		return err
	}
	a, _ = peer.SplitAddr(a)
	target, err := manet.ToNetAddr(a)
	if err != nil {
		return err
	}
	var standing atomic.Int64
	var open sync.WaitGroup
	for i := range p.Count {
		d := net.Dialer{LocalAddr: p.from(i), Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", target.String())
		if err != nil {
			continue
		}
		standing.Add(1)
		open.Go(func() {
			_, _ = io.Copy(io.Discard, c)
			standing.Add(-1)
			_ = c.Close()
		})
	}
	fmt.Println("tried", standing.Load())
	open.Wait()
	fmt.Println("over", standing.Load())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// flood connects under a new key each time, and never says hello.
func (p part) flood() error {
	target, err := peer.AddrInfoFromString(p.Target)
	if err != nil {
		return err
	}
	connected := 0
	for i := range p.Count {
		dialer := func(ma.Multiaddr) (tcp.ContextDialer, error) {
			return &net.Dialer{LocalAddr: p.from(i), Timeout: 5 * time.Second}, nil
		}
		h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(),
			libp2p.Transport(tcp.NewTCPTransport, tcp.WithDialerForAddr(dialer)))
		if err != nil {
			return err
		}
		defer h.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if h.Connect(ctx, *target) == nil {
			connected++
		}
		cancel()
	}
	fmt.Println("tried", connected)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
