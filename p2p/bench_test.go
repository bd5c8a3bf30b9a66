package p2p

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/go-nebnet/nebnet/internal/bench"
)

// Ways to carry a TCP connection to another process, to compare with.
//
//	go test ./p2p -run '^$' -bench Ratios -benchtime 1x
//
// plays all of them in turn, several rounds in one run (TUNNEL_ROUNDS), and
// reports the ratios of the times that all rounds took together. Each round moves
// TUNNEL_BULK_MB over new connections: how fast one is depends on the windows that
// its muxer happened to choose.

var benchTransports = []transportCase{
	{name: "noise", listen: loopback, opts: []libp2p.Option{libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New)}},
	{name: "tls", listen: loopback, opts: []libp2p.Option{libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(libp2ptls.ID, libp2ptls.New)}},
	transports[1],
}

// way is a local address whose connections reach the target.
type way struct {
	name string
	at   func(b testing.TB, tc transportCase, target string) string
}

var ways = []way{
	{"tunnel", wayTunnel},
	{"plain-stream", wayPlainStream},
	{"bridge-32k", wayBridge},
	{"tcp-proxy", wayTCPProxy},
}

func wayTunnel(b testing.TB, tc transportCase, target string) string {
	x, y := meet(b, tc)
	to, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		b.Fatal(err)
	}
	return tunnel(b, newTunnels(b, x), newTunnels(b, y), multiaddr(b, to))
}

// meet makes two connected hosts. The pause is for their muxers, which measure the
// round trip when they begin and choose their windows by it: all ways should find
// the same silence.
func meet(b testing.TB, tc transportCase) (x, y host.Host) {
	x, y = newPair(b, tc)
	if err := x.Connect(context.Background(), x.Peerstore().PeerInfo(y.ID())); err != nil {
		b.Fatal(err)
	}
	time.Sleep(10 * quiet)
	return x, y
}

// accepting hands connections of a new local port to handle.
func accepting(b testing.TB, handle func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(c) })
		}
	})
	b.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func echo(c net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	_ = c.Close()
}

// wayPlainStream copies one way only, from the client to the target.
func wayPlainStream(b testing.TB, tc transportCase, target string) string {
	x, y := meet(b, tc)
	y.SetStreamHandler(web, func(s network.Stream) {
		c, err := net.Dial("tcp", target)
		if err != nil {
			_ = s.Reset()
			return
		}
		_, _ = io.Copy(c, s)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = c.Read(make([]byte, 1)) // the target's word that it has all
		_, _ = s.Write([]byte{1})
		_ = c.Close()
		_ = s.Close()
	})
	return accepting(b, func(c net.Conn) {
		s, err := x.NewStream(context.Background(), y.ID(), web)
		if err != nil {
			_ = c.Close()
			return
		}
		_, _ = io.Copy(s, c)
		_ = s.CloseWrite()
		_, _ = s.Read(make([]byte, 1))
		_, _ = c.Write([]byte{1})
		_ = s.Close()
		_ = c.Close()
	})
}

// both copies both ways with io.Copy's 32 KiB buffers, as bridges usually do.
func both(a, b io.ReadWriteCloser, closeA, closeB func() error) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(struct{ io.Writer }{a}, struct{ io.Reader }{b}); _ = closeA() })
	_, _ = io.Copy(struct{ io.Writer }{b}, struct{ io.Reader }{a})
	_ = closeB()
	wg.Wait()
	_, _ = a.Close(), b.Close()
}

func wayBridge(b testing.TB, tc transportCase, target string) string {
	x, y := meet(b, tc)
	y.SetStreamHandler(web, func(s network.Stream) {
		c, err := net.Dial("tcp", target)
		if err != nil {
			_ = s.Reset()
			return
		}
		both(c, s, c.(*net.TCPConn).CloseWrite, s.CloseWrite)
	})
	return accepting(b, func(c net.Conn) {
		s, err := x.NewStream(context.Background(), y.ID(), web)
		if err != nil {
			_ = c.Close()
			return
		}
		both(c, s, c.(*net.TCPConn).CloseWrite, s.CloseWrite)
	})
}

// wayTCPProxy copies from socket to socket, which the kernel does by itself where
// it can (splice on Linux).
func wayTCPProxy(b testing.TB, _ transportCase, target string) string {
	return accepting(b, func(c net.Conn) {
		d, err := net.Dial("tcp", target)
		if err != nil {
			_ = c.Close()
			return
		}
		x, y := c.(*net.TCPConn), d.(*net.TCPConn)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(x, y); _ = x.CloseWrite() })
		_, _ = io.Copy(y, x)
		_ = y.CloseWrite()
		wg.Wait()
		_, _ = x.Close(), y.Close()
	})
}

// sink reads all and answers one byte. It reads in large pieces, so that its
// own system calls, which every way has to pay, do not hide those of the ways.
func sink(b testing.TB) string {
	return accepting(b, func(c net.Conn) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
		_, _ = c.Write([]byte{1})
		_ = c.Close()
	})
}

// upload sends size bytes over each of n connections and waits until all have
// arrived.
func upload(b testing.TB, at string, n, size int) {
	var wg sync.WaitGroup
	chunk := make([]byte, 128<<10)
	for range n {
		wg.Go(func() {
			c, err := net.Dial("tcp", at)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for left := size; left > 0; left -= len(chunk) {
				if _, err := c.Write(chunk); err != nil {
					b.Error(err)
					return
				}
			}
			_ = c.(*net.TCPConn).CloseWrite()
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkBulk(b *testing.B) {
	const size = 32 << 20
	for _, tc := range benchTransports {
		for _, w := range ways {
			for _, n := range []struct {
				name  string
				conns int
			}{{"1-conn", 1}, {"16-conns", 16}} {
				b.Run(tc.name+"/"+w.name+"/"+n.name, func(b *testing.B) {
					at := w.at(b, tc, sink(b))
					upload(b, at, n.conns, 1<<20)
					b.SetBytes(size)
					for b.Loop() {
						upload(b, at, n.conns, size/n.conns)
					}
				})
			}
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkRatios compares throughput and CPU time per byte.
func BenchmarkRatios(b *testing.B) {
	rounds := envInt("TUNNEL_ROUNDS", 20)
	size := envInt("TUNNEL_BULK_MB", 128) << 20
	for _, tc := range benchTransports {
		for _, conns := range []int{1, 16} {
			name := tc.name + "/1-conn"
			if conns > 1 {
				name = tc.name + "/16-conns"
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					var times, cpus [4]float64
					for round := range rounds {
						for i := range ways {
							i = (i + round) % len(ways)
							t, cpu := bulkOnce(b, ways[i], tc, conns, size)
							times[i] += t
							cpus[i] += cpu
						}
					}
					b.ReportMetric(times[1]/times[0], "x-plain-stream")
					b.ReportMetric(times[2]/times[0], "x-bridge-32k")
					b.ReportMetric(cpus[0]/cpus[2], "cpu-x-bridge-32k")
					b.ReportMetric(times[3]/times[0], "x-tcp-proxy")
					b.ReportMetric(float64(rounds*size)/1e6/times[0], "MB/s")
				}
			})
		}
	}
}

// bulkOnce measures a way over connections of its own: seconds, and seconds of
// processor time.
func bulkOnce(b *testing.B, w way, tc transportCase, conns, size int) (took, cpu float64) {
	s := &scope{TB: b}
	defer s.end()
	at := w.at(s, tc, sink(s))
	upload(s, at, conns, 4<<20)
	begin, used := time.Now(), bench.CPU()
	upload(s, at, conns, size/conns)
	return time.Since(begin).Seconds(), (bench.CPU() - used).Seconds()
}

// scope is a part of a benchmark. Its cleanups run when it ends.
type scope struct {
	testing.TB
	ends []func()
}

func (s *scope) Cleanup(f func()) { s.ends = append(s.ends, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.ends) {
		f()
	}
}

// quiet is the pause before each of BenchmarkConnect's samples: what a way still
// does to close must not count for the next.
const quiet = 2 * time.Millisecond

// BenchmarkConnect compares connecting and echoing one byte, through a tunnel and
// through a connection of the program's own (DialConn), with one TCP connect and
// one plain stream.
//
// A tunnel between two sockets makes two TCP connections and passes each byte
// through four sockets and a stream. Two plain TCP proxies in a row show what the
// sockets alone take of that, without libp2p and encryption (proxies-x-plain).
func BenchmarkConnect(b *testing.B) {
	for _, tc := range benchTransports {
		b.Run(tc.name, func(b *testing.B) {
			x, y := meet(b, tc)
			target := accepting(b, echo)
			to, err := net.ResolveTCPAddr("tcp", target)
			if err != nil {
				b.Fatal(err)
			}
			at := tunnel(b, newTunnels(b, x), newTunnels(b, y), multiaddr(b, to))
			y.SetStreamHandler("/x/echo", func(s network.Stream) { _, _ = io.Copy(s, s); _ = s.Close() })
			bridge := wayBridge(b, tc, target)
			proxies := wayTCPProxy(b, tc, wayTCPProxy(b, tc, target))
			own := newTunnels(b, x)
			ways := []func(){
				func() { once(b, at) },
				func() { tcpOnce(b, target); streamOnce(b, x, y.ID()) },
				func() { connOnce(b, own, y.ID()) },
				func() { once(b, bridge) },
				func() { once(b, proxies) },
			}
			took := make([][]float64, len(ways))
			for range 50 {
				for _, way := range ways {
					way()
				}
			}
			for b.Loop() {
				for _, i := range rand.Perm(len(ways)) { // none always follows the same
					time.Sleep(quiet)
					begin := time.Now()
					ways[i]()
					took[i] = append(took[i], float64(time.Since(begin).Microseconds()))
				}
			}
			b.ReportMetric(median(took[0]), "tunnel-p50-us")
			b.ReportMetric(median(took[1]), "plain-p50-us")
			b.ReportMetric(median(took[0])/median(took[1]), "x-plain")
			b.ReportMetric(median(took[2])/median(took[1]), "conn-x-plain")
			b.ReportMetric(median(took[4])/median(took[1]), "proxies-x-plain")
			b.ReportMetric(median(took[0])/median(took[3]), "x-bridge-32k")
		})
	}
}

func once(b *testing.B, at string) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		b.Fatal(err)
	}
	if err := echoOnce(c, "x"); err != nil {
		b.Fatal(err)
	}
	_ = c.Close()
}

// connOnce is once without a local socket.
func connOnce(b *testing.B, p *P2P, to peer.ID) {
	c, err := p.DialConn(context.Background(), to, string(web))
	if err != nil {
		b.Fatal(err)
	}
	if err := echoOnce(c, "x"); err != nil {
		b.Fatal(err)
	}
	_ = c.Close()
}

// tcpOnce is one TCP connect.
func tcpOnce(b *testing.B, at string) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		b.Fatal(err)
	}
	_ = c.Close()
}

func streamOnce(b *testing.B, h host.Host, to peer.ID) {
	s, err := h.NewStream(context.Background(), to, "/x/echo")
	if err != nil {
		b.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := s.Write([]byte("x")); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s, got); err != nil {
		b.Fatal(err)
	}
	_ = s.Close()
}
