package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/libp2p/go-libp2p/core/network"
)

// TestFaults sends what the protocol does not allow: the stream is reset, the
// peer penalised, the session lives.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want Fault
	}{
		{"oversize", binary.AppendUvarint(nil, DefaultMaxSize+1), FaultOversize},
		{"flags", []byte{1, 9, 0}, FaultFlags},
		{"bomb", append([]byte{9, 1}, binary.AppendUvarint(nil, 1<<40)...), FaultBomb},
		{"corrupt", []byte{3, 1, 200, 1, 0xff, 0xff, 0xff}, FaultCorrupt},
		{"truncated", []byte{30, 0, 'x'}, FaultTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *testnet.Net) {
				b := simNode(t, net, 1, nil, tx)
				a := simHost(t, net, 2)
				control := hello(t, a, b)
				defer control.Reset()
				st := open(t, a, b, "tx")
				write(t, st, frames(newCodec(), CompressNone, []byte("good")))
				write(t, st, tt.data)
				if tt.want == FaultTruncated {
					st.CloseWrite()
				}
				if _, err := ended(t, st); !errors.Is(err, network.ErrReset) {
					t.Errorf("stream ended with %v, want a reset", err)
				}
				if f := b.faulted(); !slices.Equal(f, []Fault{tt.want}) {
					t.Errorf("faults %v, want %v", f, tt.want)
				}
				if n := b.counted(obs.Faults + tt.want.String()); n != 1 {
					t.Errorf("counted %d", n)
				}
				// An honest stream still works.
				again := open(t, a, b, "tx")
				write(t, again, frames(newCodec(), CompressNone, []byte("still here")))
				b.await(t, "both good messages", func() bool { return slices.Equal(b.got["tx"], []string{"good", "still here"}) })
				again.Close()
			})
		})
	}
}

// TestConnectionLostInAFrame: who loses the connection in the middle of a frame
// has broken no rule.
func TestConnectionLostInAFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		hello(t, a, b)
		st := open(t, a, b, "tx")
		write(t, st, frames(newCodec(), CompressNone, []byte("good")))
		write(t, st, []byte{30, 0, 'x'})
		b.await(t, "the message", func() bool { return slices.Equal(b.got["tx"], []string{"good"}) })
		if err := a.Network().ClosePeer(b.host.ID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if f := b.faulted(); len(f) != 0 {
			t.Errorf("faults %v", f)
		}
	})
}

// TestSlowFrame sends one byte every ten seconds.
func TestSlowFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		st := open(t, a, b, "tx")
		began := time.Now()
		data := frames(newCodec(), CompressNone, make([]byte, 100))
		for _, c := range data {
			if _, err := st.Write([]byte{c}); err != nil {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if d := time.Since(began); d < 60*time.Second || d > 110*time.Second { // 60 to 90 s, and two bytes more
			t.Errorf("a frame may take %s", d)
		}
		if f := b.faulted(); !slices.Equal(f, []Fault{FaultTimeout}) {
			t.Errorf("faults %v", f)
		}
	})
}

// TestLargeFrameOverASlowLine: 64 MiB at 8 Mbit/s take longer than FrameTimeout,
// and nobody is to blame.
func TestLargeFrameOverASlowLine(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		large := TypeSpec{Name: "large", MaxSize: 64 << 20, Compress: CompressNone}
		a, b := simNode(t, net, 1, nil, large), simNode(t, net, 2, nil, large)
		sa, _ := join(t, a, b)
		net.SetBandwidth(net.Node(1), testnet.Bandwidth{Up: 8e6})
		began := time.Now()
		if err := sa.Send(t.Context(), "large", make([]byte, 64<<20), SendOptions{Shared: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := sa.Stats().Types["large"].Send.Pending; n != 1 {
			t.Errorf("%d under way after %s", n, time.Since(began))
		}
		b.await(t, "the message", func() bool { return len(b.got["large"]) == 1 })
		if f := b.faulted(); len(f) > 0 {
			t.Errorf("faults %v", f)
		}
	})
}

// TestRefusalMeetsTraffic: nothing that is written on a stream whose protocol the
// peer refuses counts as written, whenever the answer comes.
func TestRefusalMeetsTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil)
		sa, _ := join(t, a, b)
		net.SetBandwidth(net.Node(1), testnet.Bandwidth{Up: 1600 << 10})
		for range 20 {
			a.host.Peerstore().SetProtocols(b.host.ID(), Protocol(testNetwork, "tx")) // a lie
			for range 200 {
				_ = sa.Send(t.Context(), "tx", make([]byte, 1000), SendOptions{})
				time.Sleep(time.Millisecond)
			}
			time.Sleep(4 * time.Second)
			st := sa.Stats().Types["tx"].Send
			if st.Written != 0 || st.WrittenBytes != 0 || st.Pending != 0 || st.Dropped["unsupported"] != st.Queued {
				t.Fatalf("%+v", st)
			}
		}
		if st := sa.Stats().Types["tx"].Send; st.Queued == 0 {
			t.Error("nothing was sent")
		}
		balance(t, sa)
	})
}

// TestGoodbyeWithoutReason: the reason 0 is none that a session ends with.
func TestGoodbyeWithoutReason(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil), simNode(t, net, 2, nil)
		sa, sb := join(t, a, b)
		if _, err := sa.control.Write(goodbye{handshake.ReasonNone, 0}.append(nil)); err != nil {
			t.Fatal(err)
		}
		<-sb.Done()
		if r, _ := sb.Reason(); r != handshake.ReasonProtocol {
			t.Errorf("reason %v", r)
		}
		if f := b.faulted(); !slices.Equal(f, []Fault{FaultControl}) {
			t.Errorf("faults %v", f)
		}
	})
}

// TestSilentStreams opens streams and says nothing on them.
func TestSilentStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		var streams []network.Stream
		for range 5 {
			st := open(t, a, b, "tx")
			st.Write(nil)
			streams = append(streams, st)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := b.counted(obs.StreamsRefused + refuseExcess); n != 2 {
			t.Errorf("%d streams refused of 5", n)
		}
		if n := b.counted(obs.Faults + FaultStreams.String()); n != 2 {
			t.Errorf("%d faults", n)
		}
		for _, st := range streams {
			ended(t, st) // 60 s for each of the three that take turns
		}
	})
}

// TestStorm opens and resets streams as fast as it can.
func TestStorm(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		for range 1000 {
			st := open(t, a, b, "tx")
			write(t, st, []byte{0, 0})
			time.Sleep(11 * time.Millisecond) // until it is there
			st.Reset()
		}
		time.Sleep(time.Second)
		if n := b.counted(obs.StreamsRefused + refuseStorm); n < 500 {
			t.Errorf("%d of 1000 streams refused", n)
		}
		if n := b.counted(obs.Faults + FaultStorm.String()); n < 10 || n > 30 {
			t.Errorf("%d penalties", n)
		}
		s := b.sessionWith(a)
		if n := s.openInbound(); n != 0 {
			t.Errorf("%d streams left", n)
		}
	})
}

// TestControlFaults: what is wrong on the control stream ends the session.
func TestControlFaults(t *testing.T) {
	flood := []byte{}
	for range 200 {
		flood = appendPing(flood, ctlPing, 1)
	}
	for name, data := range map[string][]byte{"bad length": {ctlPing, 3, 1, 2, 3}, "flood": flood} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *testnet.Net) {
				b := simNode(t, net, 1, nil, tx)
				a := simHost(t, net, 2)
				control := hello(t, a, b)
				s := b.sessionWith(a)
				write(t, control, data)
				<-s.Done()
				if r, _ := s.Reason(); r != handshake.ReasonProtocol {
					t.Errorf("reason %v", r)
				}
				if f := b.faulted(); !slices.Equal(f, []Fault{FaultControl}) {
					t.Errorf("faults %v", f)
				}
			})
		})
	}
}

// TestDeliverFails: a panic or an error of the receiver resets the stream and
// blames nobody; the next stream works.
func TestDeliverFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"panic": func() error { panic("subscriber") },
		"error": func() error { return errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *testnet.Net) {
				a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
				b.handle = func(_ context.Context, spec TypeSpec, batch [][]byte) error {
					if string(batch[0]) == "bad" {
						return fail()
					}
					b.record(spec.Name, batch)
					return nil
				}
				sa, sb := join(t, a, b)
				send(t, sa, "tx", "bad")
				time.Sleep(time.Second)
				send(t, sa, "tx", "lost") // finds the stream reset
				time.Sleep(time.Second)
				send(t, sa, "tx", "good")
				b.await(t, "the good message", func() bool { return slices.Equal(b.got["tx"], []string{"good"}) })
				if f := b.faulted(); f != nil {
					t.Errorf("the peer was blamed: %v", f)
				}
				st := sb.Stats().Receive
				if st.Panics+st.Errors != 1 {
					t.Errorf("%+v", st)
				}
				balance(t, sa)
				if d := sa.Stats().Send.Dropped["reset"]; d != 1 {
					t.Errorf("%d messages dropped by the reset", d)
				}
			})
		})
	}
}

// TestUnsupported: a type that the peer does not know is refused at once when
// identify has told so, and otherwise what was queued is counted as dropped.
func TestUnsupported(t *testing.T) {
	other := TypeSpec{Name: "other"}
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx, other), simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		if err := trySend(sa, "other", nil, SendOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("identify has told: %v", err)
		}
		// The peer learns the type; identify pushes that.
		if err := b.engine.Declare(other); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		send(t, sa, "other", "now")
		b.await(t, "the message", func() bool { return len(b.got["other"]) == 1 })
	})
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx, other), simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		a.host.Peerstore().SetProtocols(b.host.ID(), Protocol(testNetwork, "other")) // a lie
		send(t, sa, "other", "in vain")
		time.Sleep(time.Second)
		a.host.Peerstore().SetProtocols(b.host.ID())
		if err := trySend(sa, "other", nil, SendOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("after the refusal: %v", err)
		}
		st := sa.Stats().Types["other"].Send
		if st.Written != 0 || st.Dropped["unsupported"] != 1 {
			t.Errorf("%+v", st)
		}
		if n := a.counted(obs.PacketsOut + ".other"); n != 0 {
			t.Errorf("%d messages counted as sent", n)
		}
		balance(t, sa)
	})
}

// TestDeadPeer pulls the cable, with and without traffic.
func TestDeadPeer(t *testing.T) {
	for _, busy := range []bool{false, true} {
		inBubble(t, func(t *testing.T, net *testnet.Net) {
			a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
			sa, sb := join(t, a, b)
			time.Sleep(time.Minute)
			if r, _ := sa.Reason(); r != handshake.ReasonNone {
				t.Fatalf("an idle session ended: %v", r)
			}
			for _, s := range []*Session{sa, sb} {
				if s.RTT() < 20*time.Millisecond || s.RTT() > 100*time.Millisecond {
					t.Errorf("RTT %s", s.RTT())
				}
			}
			// One side asks, and the other one only to measure.
			synctest.Wait()
			if x, y := pings(sa), pings(sb); x+y > 20+4 || min(x, y) > 4 {
				t.Errorf("%d and %d pings in a minute", x, y)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if busy {
				go func() {
					for sa.Send(ctx, "tx", make([]byte, 10_000), SendOptions{}) == nil {
						time.Sleep(10 * time.Millisecond)
					}
				}()
				time.Sleep(time.Second)
			}
			net.Isolate(net.Node(2))
			began := time.Now()
			<-sa.Done()
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("busy %v: noticed after %s", busy, d)
			}
			if r, _ := sa.Reason(); r != handshake.ReasonPingTimeout {
				t.Errorf("reason %v", r)
			}
			cancel()
			balance(t, sa)
			net.Heal()
		})
	}
}

func pings(s *Session) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nonce
}

// TestFalseAcks: a receiver that acknowledges what was not sent is penalised.
func TestFalseAcks(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil)
		b.host.SetStreamHandler(Protocol(testNetwork, "tx"), func(st network.Stream) {
			write(t, st, bytes.Repeat([]byte{255}, 100))
			io.Copy(io.Discard, st)
			st.Reset()
		})
		sa, _ := join(t, a, b)
		for range 100 {
			send(t, sa, "tx", string(randomBytes(1, 10_000)))
		}
		a.await(t, "the fault", func() bool { return slices.Equal(a.faults, []Fault{FaultControl}) })
		sa.Close(handshake.ReasonBanned)
		balance(t, sa)
	})
}
