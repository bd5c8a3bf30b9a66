package swarm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// raw is a member that speaks by hand.
type raw struct {
	t   testing.TB
	h   host.Host
	out network.Stream

	mu   sync.Mutex // guards heard
	hear []wire.Frame
}

// newRaw connects one to a node. What it hears is kept, and given to on.
func newRaw(t testing.TB, n *testnet.Net, i int, nd *node, on func(r *raw, f wire.Frame)) *raw {
	r := &raw{t: t, h: n.Host(t, n.Node(i))}
	r.h.SetStreamHandler(Protocol("net"), func(s network.Stream) {
		for {
			f, err := readFrame(s)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.hear = append(r.hear, f)
			r.mu.Unlock()
			if on != nil {
				on(r, f)
			}
		}
	})
	if err := r.h.Connect(t.Context(), testnet.Info(nd.h)); err != nil {
		t.Fatal(err)
	}
	nd.member(r.h.ID(), true)
	s, err := r.h.NewStream(t.Context(), nd.h.ID(), Protocol("net"))
	if err != nil {
		t.Fatal(err)
	}
	r.out = s
	return r
}

func readFrame(s network.Stream) (wire.Frame, error) {
	var size uint64
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := s.Read(b[:]); err != nil {
			return wire.Frame{}, err
		}
		size |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
	}
	body := make([]byte, size)
	for n := 0; n < len(body); {
		m, err := s.Read(body[n:])
		if err != nil {
			return wire.Frame{}, err
		}
		n += m
	}
	return wire.Decode(body)
}

func (r *raw) say(fs ...*wire.Frame) error {
	var b []byte
	for _, f := range fs {
		b = wire.Append(b, f)
	}
	_, err := r.out.Write(b)
	return err
}

func (r *raw) heard(k wire.Kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.hear {
		if f.Kind == k {
			n++
		}
	}
	return n
}

func (nd *node) faultsOf(r *raw) []string {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return slices.Clone(nd.faults[r.h.ID()])
}

// genuine is the announcement of a message whose header is good.
func genuine(data []byte) *wire.Manifest {
	m := wire.NewManifest("block", data, nil)
	d := m.Digest("net")
	m.Header = header(Header{Digest: d})
	return m
}

// TestLiar: whoever sends other bytes than those announced is reported at once, and the
// message comes from others.
func TestLiar(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		a, b := newNode(t, n, 1, nil), newNode(t, n, 2, nil)
		join(t, a, b)
		data := message(1, 1<<20)
		m := genuine(data)
		liar := newRaw(t, n, 3, b, func(r *raw, f wire.Frame) {
			for c := range f.Chunks.All() {
				_ = r.say(&wire.Frame{Kind: wire.Chunk, Number: 1, Index: c, Data: make([]byte, 16<<10)})
			}
		})
		if err := liar.say(&wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m, Whole: true}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "report of the liar", 5*time.Second, func() bool { return slices.Contains(b.faultsOf(liar), "chunk") })
		a.publish(data)
		eventually(t, "the message", 10*time.Second, func() bool { return b.has(data) })
		b.mu.Lock()
		defer b.mu.Unlock()
		if f := b.faults[a.h.ID()]; len(f) > 0 {
			t.Errorf("the honest node is blamed: %v", f)
		}
	})
}

// TestSilentHolder: whoever says to have all and sends nothing costs less than a second,
// and is not blamed; the second time it costs nothing.
func TestSilentHolder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		bare := func(_ *Config, h *Headers) { h.Make = nil } // else the author pushes all of it
		a, b := newNode(t, n, 1, bare), newNode(t, n, 2, bare)
		join(t, a, b)
		mute := newRaw(t, n, 3, b, nil)
		var took [2]time.Duration
		for i := range took {
			data := message(byte(i), 1<<20)
			if err := mute.say(&wire.Frame{Kind: wire.Announce, Number: uint32(i) + 1, Manifest: wire.NewManifest("block", data, nil), Whole: true}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			began := time.Now()
			a.publish(data)
			eventually(t, "the message", 10*time.Second, func() bool { return b.has(data) })
			took[i] = time.Since(began)
			time.Sleep(10 * time.Second)
		}
		if took[0] > 2*time.Second || took[1] > took[0] {
			t.Errorf("took %v", took)
		}
		if f := b.faultsOf(mute); len(f) > 0 {
			t.Errorf("blamed: %v", f)
		}
		if c := b.e.Stats().Types["block"]; c.Snubs < 1 {
			t.Errorf("%+v", c)
		}
	})
}

// TestAnnouncementStorm: a thousand announcements a second cost a few checks and no
// memory, and are reported.
func TestAnnouncementStorm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		b, c := newNode(t, n, 2, nil), newNode(t, n, 4, nil)
		join(t, b, c)
		r := newRaw(t, n, 3, b, nil)
		for i := range 1000 {
			m := &wire.Manifest{Type: "block", Size: 1 << 20, Sums: make([]wire.Sum, 64), Header: []byte("junk")}
			m.Sums[0] = wire.Sum{byte(i), byte(i >> 8)}
			if err := r.say(&wire.Frame{Kind: wire.Announce, Number: uint32(i) + 1, Manifest: m}); err != nil {
				break
			}
		}
		time.Sleep(5 * time.Second)
		if f := b.faultsOf(r); !slices.Contains(f, "announcements") || !slices.Contains(f, "header") {
			t.Errorf("reported: %d", len(f))
		}
		b.mu.Lock()
		checks := b.checks
		b.mu.Unlock()
		if checks > 70 { // 20 at once, 10 a second
			t.Errorf("%d checks", checks)
		}
		st := b.e.Stats()
		if st.Held != 0 || len(st.Messages) != 0 {
			t.Errorf("%d bytes held for %d messages", st.Held, len(st.Messages))
		}
		if s := c.e.Stats(); s.Types["block"].Announced != 0 {
			t.Errorf("the next node was told: %+v", s.Types["block"])
		}
	})
}

// TestCopiedHeader: a genuine header beside other chunks does not pass.
func TestCopiedHeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		b, c := newNode(t, n, 2, nil), newNode(t, n, 4, nil)
		join(t, b, c)
		r := newRaw(t, n, 3, b, nil)
		m := wire.NewManifest("block", message(2, 1<<20), genuine(message(1, 1<<20)).Header)
		if err := r.say(&wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m, Whole: true}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "report", 5*time.Second, func() bool { return slices.Contains(b.faultsOf(r), "header") })
		eventually(t, "refusal", 5*time.Second, func() bool { return r.heard(wire.Gone) == 1 })
		if n := r.heard(wire.Want); n > 0 {
			t.Errorf("%d wants", n)
		}
		if s := c.e.Stats().Types["block"]; s.Announced != 0 {
			t.Errorf("the next node was told: %+v", s)
		}
	})
}

// TestNothingUncheckedIsPassedOn: without a header, or a check, not a byte of a message
// is at the second hop before the first has accepted the whole.
func TestNothingUncheckedIsPassedOn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Config, h *Headers)
	}{
		{"no header", func(_ *Config, h *Headers) { h.Make = nil }},
		{"no check", func(_ *Config, h *Headers) { h.Check = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newNet()
				a, b, c := newNode(t, n, 1, tt.change), newNode(t, n, 2, tt.change), newNode(t, n, 3, tt.change)
				join(t, a, b)
				join(t, b, c)
				b.setVerdict(sched.Defer) // the application takes its time
				data := message(1, 1<<20)
				a.publish(data)
				eventually(t, "the message", 20*time.Second, func() bool { return b.has(data) })
				time.Sleep(5 * time.Second)
				if s := c.e.Stats().Types["block"]; s.Announced != 0 || s.BytesIn != 0 {
					t.Errorf("the second hop: %+v", s)
				}
				b.e.Validated(b.first().Ref, sched.Accept)
				eventually(t, "the message at the second hop", 20*time.Second, func() bool { return c.has(data) })
			})
		})
	}
}

// TestCutThrough: with an accepted header the second hop has chunks before the first is
// whole, and when the whole is rejected the author is reported, and not the peer.
func TestCutThrough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var invalid []Header
		var mu sync.Mutex
		note := func(c *Config, _ *Headers) {
			c.Invalid = func(h Header) {
				mu.Lock()
				invalid = append(invalid, h)
				mu.Unlock()
			}
		}
		n := newNet()
		a, b, c := newNode(t, n, 1, nil), newNode(t, n, 2, note), newNode(t, n, 3, nil)
		join(t, a, b)
		join(t, b, c)
		b.setVerdict(sched.Reject)
		n.SetBandwidth(n.Node(1), testnet.Bandwidth{Up: 2e6, Down: 2e6}) // 1 MiB takes 4 s
		data := message(1, 1<<20)
		a.publish(data)
		eventually(t, "chunks at the second hop", 4*time.Second, func() bool { return c.e.Stats().Types["block"].Chunks > 5 })
		if b.has(data) {
			t.Error("the first hop was whole before")
		}
		eventually(t, "verdict", 20*time.Second, func() bool { return b.has(data) })
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(invalid) != 1 || invalid[0].Digest != genuine(data).Digest("net") {
			t.Errorf("reported: %+v", invalid)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.faults) > 0 {
			t.Errorf("peers are blamed: %v", b.faults)
		}
	})
}

// TestMemory: whatever peers declare, what is set aside stays within the bound, and an
// honest message comes all the same.
func TestMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		small := func(c *Config, _ *Headers) { c.Memory = 40 << 20 }
		a, b := newNode(t, n, 1, nil), newNode(t, n, 2, small)
		join(t, a, b)
		for k := range 3 {
			r := newRaw(t, n, 10+k, b, nil)
			for i := range 12 {
				data := message(byte(20*k+i+1), 8<<20-1024)
				if err := r.say(&wire.Frame{Kind: wire.Announce, Number: uint32(i) + 1, Manifest: genuine(data), Whole: true}); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Second)
		data := message(200, 1<<20)
		a.publish(data)
		most := 0
		eventually(t, "the message", 3*time.Minute, func() bool {
			st := b.e.Stats()
			most = max(most, st.Held)
			return b.has(data)
		})
		if most > 40<<20 {
			t.Errorf("%d bytes set aside", most)
		}
	})
}

// TestStrangers: nothing of a peer is read that is no member.
func TestStrangers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		b := newNode(t, n, 2, nil)
		r := newRaw(t, n, 3, b, nil)
		b.member(r.h.ID(), false)
		s, err := r.h.NewStream(t.Context(), b.h.ID(), Protocol("net"))
		if err != nil {
			t.Fatal(err)
		}
		r.out = s
		_ = r.say(&wire.Frame{Kind: wire.Announce, Number: 1, Manifest: genuine(message(1, 1<<20)), Whole: true})
		time.Sleep(time.Minute)
		if c := b.e.Stats().Types["block"]; c.Announced != 0 {
			t.Errorf("%+v", c)
		}
		// It becomes one: then it counts.
		b.member(r.h.ID(), true)
		eventually(t, "the announcement", 10*time.Second, func() bool { return b.e.Stats().Types["block"].Announced == 1 })
	})
}

// TestPanics: a check that panics ignores the message, one of Make is an error.
func TestPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		a := newNode(t, n, 1, func(_ *Config, h *Headers) {
			h.Make = func(Header, []byte) ([]byte, error) { return nil, fmt.Errorf("no key") }
		})
		b := newNode(t, n, 2, func(_ *Config, h *Headers) {
			h.Check = func(context.Context, Header) (sched.Verdict, string) { panic("check") }
			h.Make = func(Header, []byte) ([]byte, error) { panic("make") }
		})
		join(t, a, b)
		for _, nd := range []*node{a, b} {
			if _, err := nd.e.Prepare("block", message(1, 300_000), []byte("own")); err == nil {
				t.Error("no error")
			}
		}
		c := newNode(t, n, 3, nil)
		join(t, b, c)
		c.publish(message(2, 300_000))
		eventually(t, "the refusal", 5*time.Second, func() bool { return b.e.Stats().Types["block"].Refused == 1 })
	})
}

// TestChunkBeyondTheEnd: frames that name a chunk which the message does not have are
// dropped, and held against their sender.
func TestChunkBeyondTheEnd(t *testing.T) {
	for name, f := range map[string]wire.Frame{
		"chunk, the next one":       {Kind: wire.Chunk, Index: 64, Data: []byte{1}},
		"chunk, the last of all":    {Kind: wire.Chunk, Index: wire.MaxChunks - 1, Data: make([]byte, wire.Piece)},
		"want":                      {Kind: wire.Want, Chunks: wire.SetOf(0, 64)},
		"cancel":                    {Kind: wire.Cancel, Chunks: wire.SetOf(wire.MaxChunks - 1)},
		"have":                      {Kind: wire.Have, Have: wire.SetOf(64)},
		"have, which it asked for":  {Kind: wire.Have, Soon: wire.SetOf(64)},
		"have, which comes unasked": {Kind: wire.Have, Coming: wire.SetOf(64)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newNet()
				a, b := newNode(t, n, 1, nil), newNode(t, n, 2, nil)
				join(t, a, b)
				r := newRaw(t, n, 3, b, nil)
				m := genuine(message(1, 1<<20))
				f.Number = 1
				if err := r.say(&wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m}, &f); err != nil {
					t.Fatal(err)
				}
				eventually(t, "report", 5*time.Second, func() bool { return slices.Contains(b.faultsOf(r), sched.FaultFrame.String()) })
				data := message(2, 1<<20)
				a.publish(data)
				eventually(t, "a message of another one", 10*time.Second, func() bool { return b.has(data) })
			})
		})
	}
}
