package netservice_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/netservice"
)

// Nodes that are dialled by the service and answer its hello with something
// else. Each attempt ends in time with its reason, and leaves no connection.
func TestHostileAnswers(t *testing.T) {
	type answer func(st network.Stream)
	write := func(b ...byte) answer {
		return func(st network.Stream) {
			st.Write(b)
			io.Copy(io.Discard, st)
		}
	}
	for name, tc := range map[string]struct {
		reason netservice.DisconnectReason
		label  string
		answer answer
	}{
		"no hello protocol":    {netservice.ReasonNotNebnet, "not_nebnet", nil},
		"silence":              {netservice.ReasonTimeout, "timeout", write()},
		"a reset":              {netservice.ReasonTransportLost, "transport_lost", func(st network.Stream) { st.Reset() }},
		"an end":               {netservice.ReasonTransportLost, "transport_lost", func(st network.Stream) { st.Close() }},
		"a length of 2^64":     {netservice.ReasonProtocol, "protocol", write(bytes.Repeat([]byte{0xff}, 10)...)},
		"a refusal, no reason": {netservice.ReasonProtocol, "protocol", write(2, 0x12, 0)},
		"an unknown reason":    {netservice.DisconnectReason(60000), "other", write(6, 0x12, 4, 8, 0xe0, 0xd4, 3)},
		"noise without end": {netservice.ReasonProtocol, "protocol", func(st network.Stream) {
			for {
				if _, err := st.Write(bytes.Repeat([]byte{0x0a}, 4096)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.attacker()
				if tc.answer != nil {
					a.SetStreamHandler(handshake.ProtocolAny, network.StreamHandler(tc.answer))
				}
				begin := time.Now()
				err := s.victim.ConnectPeer(t.Context(), a.Addrs()[0].String()+"/p2p/"+a.ID().String())
				if !errors.Is(err, tc.reason) {
					t.Errorf("connect: %v", err)
				}
				if d := time.Since(begin); d > netservice.DefaultHandshakeTimeout+time.Second {
					t.Errorf("it took %s", d)
				}
				// Whoever connects and the handshake have the same deadline: either
				// may be first.
				time.Sleep(2 * time.Second)
				if n := s.count("neb.net.handshake.refused."+tc.label) + s.count("neb.net.handshake.refused_by_peer."+tc.label); n != 1 {
					t.Errorf("%d refusals are counted", n)
				}
				if s.conns() != 0 {
					t.Errorf("%d connections", s.conns())
				}
				s.mustServe("after")
			})
		})
	}
}

// Row 23: a peer that takes nothing. What waits for it is bounded, sending to
// all drops and counts, Send waits for its context, and in the end the peer goes;
// the others notice nothing.
func TestHostileSlowReader(t *testing.T) {
	const queue = 2 << 20
	besiege(t, func(c *netservice.Config) { c.PeerQueueBytes = queue }, func(t *testing.T, s *siege) {
		a := s.attacker()
		a.SetStreamHandler(s.protocol(), func(st network.Stream) {}) // takes the stream and never reads
		a.enlist()
		friend := s.service(s.address(), chain())
		heard := inbox(t, friend, 10_000)
		if err := friend.Start(); err != nil {
			t.Fatal(err)
		}
		if err := friend.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		a.identified()
		const n, size = 400, 64 << 10
		payload := randomBytes(size)
		for i := range n {
			payload[0], payload[1] = byte(i), byte(i>>8)
			if _, err := text.SendTo(t.Context(), s.victim, netservice.AllPeers(), payload); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			next(t, "message", heard)
			for _, p := range s.victim.Peers() {
				if p.QueueBytes > queue+size {
					t.Fatalf("%d bytes wait for a peer", p.QueueBytes)
				}
			}
		}
		st := s.victim.Stats().Peers[a.ID().String()].Send
		if st.Refused < n/2 || st.Queued != st.Written+uint64(st.Pending) {
			t.Errorf("stats: %+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		if err := text.Send(ctx, s.victim, a.ID(), payload); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send to a full queue: %v", err)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("it took %s", d)
		}
		// The victim gives up the stream by its write deadline, and the peer
		// after the third.
		for range 100 {
			if time.Sleep(10 * time.Second); s.peers(a.ID()) == 0 {
				break
			}
			text.SendTo(t.Context(), s.victim, netservice.AllPeers(), payload)
		}
		if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonSlowReader || e.ByRemote {
			t.Errorf("disconnected: %+v", e)
		}
		if g, ok := s.victim.Metrics().Get("neb.net.queue.bytes").(metrics.Gauge); !ok || g.Value() > size {
			t.Errorf("bytes still queued: %v", g)
		}
	})
}

// Row 23: peers that take message streams and do something else with them than read.
// What was meant for them is dropped and counted, and nothing spins.
func TestHostileTakers(t *testing.T) {
	for name, take := range map[string]network.StreamHandler{
		"resets":     func(st network.Stream) { st.Reset() },
		"closes":     func(st network.Stream) { st.Close() },
		"reads once": func(st network.Stream) { st.Read(make([]byte, 1)); st.Reset() },
		"answers":    func(st network.Stream) { st.Write(make([]byte, 1<<20)); io.Copy(io.Discard, st) },
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				base := runtime.NumGoroutine()
				a := s.attacker()
				a.SetStreamHandler(s.protocol(), take)
				a.enlist()
				a.identified()
				const n = 200
				for range n {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					if err := text.Send(ctx, s.victim, a.ID(), randomBytes(1000)); err != nil {
						t.Errorf("send: %v", err)
					}
					cancel()
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(time.Minute)
				st := s.victim.Stats().Peers[a.ID().String()].Send
				dropped := uint64(0)
				for _, d := range st.Dropped {
					dropped += d
				}
				if st.Queued != st.Written+dropped+uint64(st.Pending) || st.Streams > 2*n {
					t.Errorf("stats: %+v", st)
				}
				s.mustServe("after")
				a.Close()
				awaitGoroutines(t, base)
			})
		})
	}
}

// A goodbye that announces streams which never come, or gives a reason that
// nobody knows, ends the session as soon as any other; one without a reason is a
// violation.
func TestHostileGoodbye(t *testing.T) {
	for name, tc := range map[string]struct {
		code    uint16
		streams uint32
		label   string
		ours    bool // it is the victim that ends the session
	}{
		"four billion streams": {1, 1<<32 - 1, "requested", false},
		"unknown reason":       {65535, 0, "other", false},
		"no reason":            {0, 0, handshake.ReasonProtocol.Label(), true},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.session()
				b := binary.BigEndian.AppendUint16([]byte{3, 6}, tc.code)
				a.control.Write(binary.BigEndian.AppendUint32(b, tc.streams))
				begin := time.Now()
				e := s.event(netservice.PeerDisconnected, a.ID())
				if d := time.Since(begin); d > 3*time.Second || e.ByRemote == tc.ours {
					t.Errorf("after %s: %+v", d, e)
				}
				if n := s.count("neb.net.disconnected." + tc.label); n != 1 {
					t.Errorf("%d are counted as %s", n, tc.label)
				}
				s.mustServe("after")
			})
		})
	}
}
