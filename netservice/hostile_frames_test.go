package netservice_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Flags of a frame: how its body is compressed.
const (
	plain byte = iota
	packedS2
	packedZstd
)

func s2Of(n int) []byte { return s2.Encode(nil, make([]byte, n)) }

func zstdOf(t *testing.T, n int) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(make([]byte, n), nil)
}

// packed is a frame whose body claims to unpack to raw bytes.
func packed(flags byte, raw uint64, body []byte) []byte {
	b := append(binary.AppendUvarint(nil, uint64(len(body))), flags)
	return append(binary.AppendUvarint(b, raw), body...)
}

// Rows 1, 10 and 11: frames that lie about their length, unpack to more than
// they may, or do not unpack at all. Each resets its stream and is counted;
// nothing is allocated for what it claims; the third costs the peer its place.
// Others are served all the while.
func TestHostileFrames(t *testing.T) {
	const huge = 64 << 20
	s2bomb, zstdBomb := s2Of(huge), zstdOf(t, huge)
	for name, tc := range map[string]struct {
		fault string
		frame []byte
	}{
		"one above the limit":     {"oversize", frame(baitSize+1, plain)},
		"1 GiB":                   {"oversize", frame(1<<30, plain)},
		"2^63":                    {"oversize", frame(1<<63, plain)},
		"the largest number":      {"oversize", frame(math.MaxUint64, plain)},
		"a number without end":    {"oversize", bytes.Repeat([]byte{0xff}, 100)},
		"not the shortest form":   {"corrupt", []byte{0x81, 0, 0, 1}},
		"unknown flags":           {"flags", frame(1, 200, 1)},
		"s2, claims too much":     {"bomb", packed(packedS2, huge, s2bomb[:1000])},
		"zstd, claims too much":   {"bomb", packed(packedZstd, huge, zstdBomb[:1000])},
		"s2, claims too little":   {"bomb", packed(packedS2, baitSize, s2bomb[:1000])},
		"zstd, claims too little": {"bomb", packed(packedZstd, baitSize, zstdBomb[:min(len(zstdBomb), baitSize-1)])},
		"s2, garbage":             {"corrupt", packed(packedS2, 1000, bytes.Repeat([]byte{0xff}, 100))},
		"zstd, garbage":           {"corrupt", packed(packedZstd, 1000, bytes.Repeat([]byte{0xff}, 100))},
		"s2, cut short":           {"corrupt", packed(packedS2, 8000, s2Of(8000)[:8])},
		"zstd, cut short":         {"corrupt", packed(packedZstd, 8000, zstdOf(t, 8000)[:10])},
		"grows when unpacked":     {"corrupt", packed(packedS2, 2, []byte{1, 0, 7})},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.catchBait(func(netservice.Received[[]byte]) {})
				a := s.session()
				a.identified()
				before := allocated()
				for i := range 3 {
					st := a.open("bait")
					st.Write(append(frame(1, plain, 'x'), tc.frame...))
					if d := hungUp(t, st); d > time.Second {
						t.Errorf("reset after %s", d)
					}
					if i == 1 {
						s.mustServe("during")
					}
				}
				if n := allocated() - before; n > 32<<20 {
					t.Errorf("%d MiB were allocated", n>>20)
				}
				if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonBanned || e.ByRemote {
					t.Errorf("disconnected: %+v", e)
				}
				if e := s.event(netservice.PeerBanned, a.ID()); time.Until(e.Until) < time.Minute {
					t.Errorf("banned until %s", e.Until)
				}
				if n := s.count("neb.net.faults." + tc.fault); n != 3 {
					t.Errorf("%d faults are counted as %s", n, tc.fault)
				}
				// What came before the lie was a message, and nothing after it.
				if n := s.baits(); n != 3 {
					t.Errorf("%d messages", n)
				}
				time.Sleep(10 * time.Second)
				refused := s.count("neb.net.connections.refused.gate")
				if err := a.connect(); err == nil {
					if _, err = a.hello(greeting()); err == nil {
						t.Error("a banned peer is let in again")
					}
				}
				if s.count("neb.net.connections.refused.gate") == refused {
					t.Error("its connection is not refused")
				}
			})
		})
	}
}

// Row 1: memory for a frame comes with the frame, not with its length, also
// where a type allows much.
func TestHostileFrameMemoryGrowsAsItArrives(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		giant := netservice.Declare("giant", netservice.Raw(), netservice.MaxSize(1<<30))
		if _, err := giant.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		var liars []*attacker
		for range 10 {
			liars = append(liars, s.session())
		}
		before := allocated()
		for _, a := range liars {
			a.open("giant").Write(frame(1<<30, plain, make([]byte, 1000)...))
		}
		time.Sleep(time.Second)
		if n := allocated() - before; n > 16<<20 {
			t.Errorf("%d MiB were allocated for promises", n>>20)
		}
	})
}

// Row 2: empty frames are empty messages, each counted, and cost no spin.
func TestHostileEmptyFrames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		var empty, other atomic.Int64
		s.catchBait(func(m netservice.Received[[]byte]) {
			if len(m.Value) == 0 {
				empty.Add(1)
			} else {
				other.Add(1)
			}
		})
		a := s.session()
		st := a.open("bait")
		const n = 20_000
		if _, err := st.Write(bytes.Repeat(frame(0, plain), n)); err != nil {
			t.Fatal(err)
		}
		st.CloseWrite()
		time.Sleep(time.Second)
		if d := s.victim.Stats().Dispatcher.Types["bait"]; d.Received != n || d.Delivered+d.Duplicate+d.DroppedTotal() != n {
			t.Errorf("stats: %+v", d)
		}
		if empty.Load() == 0 || other.Load() > 0 {
			t.Errorf("%d empty messages and %d others", empty.Load(), other.Load())
		}
		if s.peers(a.ID()) != 1 {
			t.Error("the peer was lost")
		}
	})
}

// Row 3: a frame that is cut short by the end of its stream is no message. It
// costs little, since a broken program can cause it, but not nothing.
func TestHostileTruncatedFrames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		s.catchBait(func(netservice.Received[[]byte]) {})
		a := s.session()
		cut := func() {
			st := a.open("bait")
			st.Write(frame(1000, plain, make([]byte, 500)...))
			st.CloseWrite()
			hungUp(t, st)
		}
		for range 5 {
			cut()
		}
		if n := s.count("neb.net.faults.truncated"); n != 5 {
			t.Errorf("%d faults are counted", n)
		}
		if s.baits() != 0 || s.peers(a.ID()) != 1 {
			t.Errorf("%d messages, %d sessions", s.baits(), s.peers(a.ID()))
		}
		for range 60 {
			if s.peers(a.ID()) == 0 {
				break
			}
			cut()
			time.Sleep(100 * time.Millisecond)
		}
		s.event(netservice.PeerBanned, a.ID())
		s.mustServe("after")
	})
}

// Row 4: a frame of which nothing more comes is given up soon.
func TestHostileStalledFrames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		for i, begun := range []int{0, 500} {
			st := a.open("bait")
			st.Write(frame(1000, plain, make([]byte, begun)...))
			if d := hungUp(t, st); d > 80*time.Second {
				t.Errorf("%d bytes, and no more: given up after %s", begun, d)
			}
			if n := s.count("neb.net.faults.timeout"); n != int64(i+1) || s.baits() != 0 {
				t.Errorf("%d bytes, and no more: %d faults, %d messages", begun, n, s.baits())
			}
		}
		if s.peers(a.ID()) != 1 {
			t.Error("two frames cost the peer its place")
		}
	})
}

// Row 4: a frame that comes byte by byte has an absolute deadline.
func TestHostileSlowFrames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		s.catchBait(func(netservice.Received[[]byte]) {})
		a := s.session()
		st := a.open("bait")
		begin := time.Now()
		sent, err := testnet.Drip(t.Context(), st, frame(1000, plain, make([]byte, 1000)...), 10*time.Second)
		if d := time.Since(begin); err == nil || sent > 12 || d > 2*time.Minute {
			t.Errorf("%d bytes in %s: %v", sent, d, err)
		}
		if n := s.count("neb.net.faults.timeout"); n != 1 || s.baits() != 0 {
			t.Errorf("%d faults, %d messages", n, s.baits())
		}
		if s.peers(a.ID()) != 1 {
			t.Error("one slow frame cost the peer its place")
		}
		s.mustServe("after")
	})
}

// Row 49: many small frames in one read, each legal in itself but for what it
// unpacks to. Nothing is unpacked of what shrinks by more than it may, and the peer
// is gone after the third; what shrinks by just as much as it may is taken slowly.
func TestHostileUnpacking(t *testing.T) {
	const claimed = 4 << 20
	big := netservice.Declare("big", netservice.Raw())
	run := func(t *testing.T, body []byte, raw int, f func(s *siege, a *attacker, burst []byte, got *atomic.Int64)) {
		besiege(t, nil, func(t *testing.T, s *siege) {
			var got atomic.Int64
			_, err := big.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) { got.Add(int64(len(m.Value))) },
				dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithFilter(false))
			if err != nil {
				t.Fatal(err)
			}
			a := s.session()
			one := packed(packedS2, uint64(raw), body)
			f(s, a, bytes.Repeat(one, (63<<10)/len(one)), &got)
		})
	}
	t.Run("bombs", func(t *testing.T) {
		run(t, s2Of(claimed), claimed, func(s *siege, a *attacker, burst []byte, got *atomic.Int64) {
			before := allocated()
			for range 3 {
				st := a.open("big")
				st.Write(burst)
				hungUp(t, st)
			}
			if n := allocated() - before; n > 16<<20 || got.Load() != 0 {
				t.Errorf("%d MiB were allocated, %d bytes delivered", n>>20, got.Load())
			}
			if n := s.count("neb.net.faults.bomb"); n != 3 {
				t.Errorf("%d faults are counted", n)
			}
			s.event(netservice.PeerBanned, a.ID())
			s.mustServe("after")
		})
	})
	t.Run("within the ratio", func(t *testing.T) {
		const raw = 12_000 // of 10 bytes, more than 4,000 times in each read
		run(t, s2Of(raw), raw, func(s *siege, a *attacker, burst []byte, got *atomic.Int64) {
			st := a.open("big")
			go func() {
				for range 10 { // 600 MiB
					if _, err := st.Write(burst); err != nil {
						return
					}
				}
			}()
			time.Sleep(10 * time.Second)
			if n := got.Load(); n < 1<<20 || n > 200<<20 {
				t.Errorf("%d MiB in ten seconds", n>>20)
			}
			s.mustServe("during")
			if n := s.count("neb.net.faults.bomb"); n != 0 {
				t.Errorf("%d faults", n)
			}
			st.Reset()
		})
	})
	t.Run("behind a stuck subscriber", func(t *testing.T) {
		besiege(t, func(c *netservice.Config) { c.DispatchQueue = 4 }, func(t *testing.T, s *siege) {
			stuck := make(chan struct{})
			defer close(stuck)
			if _, err := big.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) { <-stuck },
				dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(4)); err != nil {
				t.Fatal(err)
			}
			a := s.session()
			one := packed(packedS2, 12_000, s2Of(12_000))
			before := live()
			a.open("big").Write(bytes.Repeat(one, (63<<10)/len(one))) // 60 MiB
			time.Sleep(time.Minute)
			if n := live() - before; n > 8<<20 {
				t.Errorf("%d MiB are unpacked before anything is handed over", n>>20)
			}
		})
	})
}

// What the protocol does not allow on the control stream ends the session.
func TestHostileControlStream(t *testing.T) {
	for name, b := range map[string][]byte{
		"a short ping":                   {1, 3, 1, 2, 3},
		"a long pong":                    append([]byte{2, 255}, make([]byte, 255)...),
		"a bad goodbye":                  {3, 0},
		"a ping flood":                   bytes.Repeat([]byte{1, 8, 0, 0, 0, 0, 0, 0, 0, 1}, 5000),
		"noise":                          bytes.Repeat([]byte{0x5a, 0}, 5000),
		"a payload told again and again": bytes.Repeat([]byte{7, 1, 'x'}, 40),
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.session()
				a.control.Write(b)
				if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonProtocol || e.ByRemote {
					t.Errorf("disconnected: %+v", e)
				}
				if n := s.count("neb.net.faults.control"); n != 1 {
					t.Errorf("%d faults are counted", n)
				}
				s.mustServe("after")
			})
		})
	}
}
