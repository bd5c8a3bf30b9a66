package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"slices"
	"strings"
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
		{"oversize", binary.AppendUvarint(nil, msgtype.DefaultMaxSize+1), FaultOversize},
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
				write(t, st, frames(newCodec(), msgtype.CompressNone, []byte("good")))
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
				write(t, again, frames(newCodec(), msgtype.CompressNone, []byte("still here")))
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
		write(t, st, frames(newCodec(), msgtype.CompressNone, []byte("good")))
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
		data := frames(newCodec(), msgtype.CompressNone, make([]byte, 100))
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

// TestSlowestFrame: a frame that moves at a little more than the lowest rate
// arrives, one that moves at half of it does not, and neither does one that has
// come quickly and then stops.
func TestSlowestFrame(t *testing.T) {
	for _, tt := range []struct {
		name    string
		at      int // bytes that come at once
		rate    int // of the rest, bytes a second
		arrives bool
	}{
		{"slow", 0, 5 << 10, true},
		{"trickle", 0, 2 << 10, false},
		{"stops", 900 << 10, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *testnet.Net) {
				b := simNode(t, net, 1, nil, msgtype.Spec{Name: "tx", MaxSize: 1 << 20})
				a := simHost(t, net, 2)
				an := newNode(t, a, nil) // answers pings
				defer an.close(t)
				join(t, an, b)
				st := open(t, a, b, "tx")
				data := frames(newCodec(), msgtype.CompressNone, make([]byte, 1<<20))
				write(t, st, data[:max(tt.at, 10)])
				data = data[max(tt.at, 10):]
				began := time.Now()
				for len(data) > 0 && time.Since(began) < 10*time.Minute {
					time.Sleep(time.Second)
					n, err := st.Write(data[:min(tt.rate, len(data))])
					if err != nil {
						break
					}
					data = data[n:]
				}
				time.Sleep(time.Second)
				if n := len(b.messages("tx")); (n == 1) != tt.arrives {
					t.Errorf("%d messages arrived after %s", n, time.Since(began))
				}
				if f := b.faulted(); (len(f) == 0) != tt.arrives {
					t.Errorf("faults %v", f)
				}
			})
		})
	}
}

// TestLargeFrameOverASlowLine: 64 MiB at 8 Mbit/s take longer than FrameTimeout,
// and nobody is to blame.
func TestLargeFrameOverASlowLine(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		large := msgtype.Spec{Name: "large", MaxSize: 64 << 20, Compression: msgtype.CompressNone}
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

// TestWithdrawalMeetsTraffic: a type that the peer takes and does not take, again
// and again, in the middle of traffic. Every message is accounted for, none comes
// twice, and nobody is blamed.
func TestWithdrawalMeetsTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		net.SetBandwidth(net.Node(1), testnet.Bandwidth{Up: 1600 << 10})
		taken := 0
		for round := range 20 {
			if err := b.engine.Set(tx, round%2 == 0); err != nil {
				t.Fatal(err)
			}
			for i := range 200 {
				switch err := sa.Send(t.Context(), "tx", fmt.Appendf(make([]byte, 1000), "%d %d", round, i), SendOptions{}); {
				case err == nil:
					taken++
				case !errors.Is(err, ErrUnsupported):
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(round) * 100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		st := sa.Stats().Types["tx"].Send
		if st.Pending != 0 || st.Queued != uint64(taken) || st.Refused == 0 || st.Dropped["unsupported"] == 0 {
			t.Errorf("%+v, %d were taken", st, taken)
		}
		balance(t, sa)
		seen := make(map[string]bool)
		for _, m := range b.messages("tx") {
			if seen[m] {
				t.Errorf("%q came twice", m[1000:])
			}
			seen[m] = true
		}
		// What is on its way when the type is withdrawn may be lost, and no more.
		if n := uint64(len(seen)); n < st.Written*3/4 || n > st.Written || n < 500 {
			t.Errorf("%d messages came, %d were written", len(seen), st.Written)
		}
		for _, n := range []*node{a, b} {
			if f := n.faulted(); f != nil {
				t.Errorf("faults %v", f)
			}
		}
	})
}

// TestGoodbyeWithoutReason: the reason 0 is none that a session ends with.
func TestGoodbyeWithoutReason(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil), simNode(t, net, 2, nil)
		sa, sb := join(t, a, b)
		if _, err := sa.control.Write(goodbye{handshake.ReasonNone, 0, ""}.append(nil)); err != nil {
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

// TestSilentStreams opens streams of one type and says nothing more on them.
func TestSilentStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		var streams []network.Stream
		for range 5 {
			streams = append(streams, open(t, a, b, "tx"))
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

// TestNamelessStreams opens streams and does not say what they carry: so many are
// borne, for so long.
func TestNamelessStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		var streams []network.Stream
		for range maxUnnamed + 5 {
			st, err := a.NewStream(t.Context(), b.host.ID(), Protocol(testNetwork))
			if err != nil {
				t.Fatal(err)
			}
			st.Write(nil)
			streams = append(streams, st)
		}
		time.Sleep(time.Second)
		if n := b.counted(obs.StreamsRefused + refuseUnnamed); n != 5 {
			t.Errorf("%d streams refused", n)
		}
		for _, st := range streams {
			if took, _ := ended(t, st); took > 90*time.Second {
				t.Errorf("ended after %s", took)
			}
		}
		if n := b.sessionWith(a).openInbound(); n != 0 {
			t.Errorf("%d streams left", n)
		}
	})
}

// TestForeignNumbers: a stream of a number that was never offered is a violation,
// one of a type that is not taken any more is not.
func TestForeignNumbers(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		gone, sent := msgtype.Spec{Name: "gone"}, msgtype.Spec{Name: "sent"}
		b := simNode(t, net, 1, nil, tx, gone)
		if err := b.engine.Set(sent, false); err != nil {
			t.Fatal(err)
		}
		if _, err := b.engine.Offer(Offer{Kind: KindMethod, Name: "method", MaxSize: 1, Properties: Taken}); err != nil {
			t.Fatal(err)
		}
		if err := b.engine.Set(gone, false); err != nil {
			t.Fatal(err)
		}
		a := simHost(t, net, 2)
		an := newNode(t, a, nil) // answers pings
		defer an.close(t)
		join(t, an, b)
		for _, tc := range []struct {
			number uint32
			faults []Fault
		}{
			{2, nil}, {3, nil}, // not taken any more, and never
			{4, []Fault{FaultNumber}},                           // a method
			{5, []Fault{FaultNumber, FaultNumber}},              // never given away
			{0, []Fault{FaultNumber, FaultNumber, FaultNumber}}, // none
			{maxNumber, []Fault{FaultNumber, FaultNumber, FaultNumber, FaultNumber}},
		} {
			st := openNumber(t, a, b, tc.number)
			st.Write(frames(newCodec(), msgtype.CompressNone, []byte("x")))
			if _, err := ended(t, st); !errors.Is(err, network.ErrReset) {
				t.Errorf("%d: stream ended with %v, want a reset", tc.number, err)
			}
			if f := b.faulted(); !slices.Equal(f, tc.faults) {
				t.Errorf("%d: faults %v, want %v", tc.number, f, tc.faults)
			}
		}
		if n := b.counted(obs.StreamsRefused + refuseWithdrawn); n != 2 {
			t.Errorf("%d streams refused", n)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.got) != 0 {
			t.Errorf("delivered %v", b.got)
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
			st.Write([]byte{0, 0})
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
	for range 2 * int(frameRate.Burst) {
		flood = appendPing(flood, ctlPing, 1)
	}
	offer := func(n uint32, name string) []byte {
		return appendEntry(nil, entry{n, Offer{KindMessage, name, 1, Taken, 0}})
	}
	var many, churn []byte // each below the other bounds
	for i := range MaxOffers + 1 {
		many = append(many, offer(uint32(i+1), fmt.Sprint(i))...)
	}
	for range int(entryRate.Burst) + 1 {
		churn = append(churn, 2, 1, 0)
	}
	long := strings.Repeat("x", 60)
	var large []byte
	for i := range MaxOfferBytes / 60 {
		large = append(large, offer(uint32(i+1), fmt.Sprintf("%s%04d", long, i))...)
	}
	offers := func(entries []byte) (b []byte) {
		for len(entries) > 0 {
			var part []byte
			for len(entries) > 0 && len(part) < maxOfferFrame {
				n := int(entries[0]) + 1
				part, entries = append(part, entries[:n]...), entries[n:]
			}
			b = appendControl(b, ctlOffers, part)
		}
		return b
	}
	for name, data := range map[string][]byte{
		"bad length": {ctlPing, 3, 1, 2, 3}, "flood": flood, "flood of bytes": bytes.Repeat(appendControl(nil, 99, make([]byte, ctlMaxBody)), 33),
		"ready twice": {ctlReady, 0, ctlReady, 0}, "bad offer": {ctlOffers, 1, 9},
		"too many offers": offers(many), "too many bytes of offers": offers(large), "offers that change too fast": offers(churn),
	} {
		want := FaultControl
		if strings.Contains(name, "offers") {
			want = FaultOffers
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, net *testnet.Net) {
				b := simNode(t, net, 1, nil, tx)
				a := simHost(t, net, 2)
				control := hello(t, a, b)
				s := b.sessionWith(a)
				control.Write(data) // which may fail when it is in the middle
				<-s.Done()
				if r, _ := s.Reason(); r != handshake.ReasonProtocol {
					t.Errorf("reason %v", r)
				}
				if f := b.faulted(); !slices.Equal(f, []Fault{want}) {
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
				b.handle = func(_ context.Context, msgType string, batch [][]byte) error {
					if string(batch[0]) == "bad" {
						return fail()
					}
					b.record(msgType, batch)
					return nil
				}
				sa, sb := join(t, a, b)
				send(t, sa, "tx", "bad")
				time.Sleep(time.Second)
				send(t, sa, "tx", "good") // finds the stream reset, and goes to the next one
				b.await(t, "the good message", func() bool { return slices.Equal(b.got["tx"], []string{"good"}) })
				if f := b.faulted(); f != nil {
					t.Errorf("the peer was blamed: %v", f)
				}
				st := sb.Stats().Receive
				if st.Panics+st.Errors != 1 {
					t.Errorf("%+v", st)
				}
				balance(t, sa)
				if st := sa.Stats().Send; st.Written != 2 || len(st.Dropped) != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestUnsupported: a type that the peer does not take is refused at once, from the
// first moment of the session, and taken as soon as the peer says so.
func TestUnsupported(t *testing.T) {
	other := msgtype.Spec{Name: "other"}
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx, other), simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		err := trySend(sa, "other", nil, SendOptions{})
		u, ok := errors.AsType[*UnsupportedError](err)
		if !ok || !errors.Is(err, ErrUnsupported) || u.Type != "other" || u.Peer != b.host.ID() {
			t.Errorf("%v", err)
		}
		send(t, sa, "tx", "this one it takes")
		if err := b.engine.Set(other, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		send(t, sa, "other", "now")
		b.await(t, "the message", func() bool { return len(b.got["other"]) == 1 })
		if err := b.engine.Set(other, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := trySend(sa, "other", nil, SendOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("after it was withdrawn: %v", err)
		}
		if n := a.counted(obs.PacketsOut + ".other"); n != 1 {
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

func pings(s *Session) uint64 { return s.budget.Pings() }
