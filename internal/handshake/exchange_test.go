package handshake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type outcome struct {
	res Result
	err error
}

// meet runs both roles over a pipe and returns what each side made of it.
func meet(a, b Hello, verifyA, verifyB func(Hello) error) (opener, answerer outcome, x, y *end) {
	x, y = pipe()
	done := make(chan outcome)
	go func() {
		res, err := Answer(context.Background(), y, b, verifyB)
		done <- outcome{res, err}
	}()
	res, err := Open(context.Background(), x, a, verifyA)
	return outcome{res, err}, <-done, x, y
}

func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testHello(1), testHello(2)
		b.VersionMin, b.VersionMax, b.Agent = 2, 5, "evil\x1b[2J\nagent"
		o, n, x, y := meet(a, b, nil, nil)
		if o.err != nil || n.err != nil {
			t.Fatalf("opener: %v, answerer: %v", o.err, n.err)
		}
		if o.res.Version != 2 || n.res.Version != 2 {
			t.Errorf("versions %d and %d, want 2", o.res.Version, n.res.Version)
		}
		if o.res.Session == 0 || o.res.Session != n.res.Session {
			t.Errorf("the session is %x and %x, want one number", o.res.Session, n.res.Session)
		}
		b.Agent = "evil?[2J?agent"
		if d := cmp.Diff(b, o.res.Remote); d != "" {
			t.Errorf("opener's view of the remote (-want +got):\n%s", d)
		}
		if d := cmp.Diff(a, n.res.Remote); d != "" {
			t.Errorf("answerer's view of the remote (-want +got):\n%s", d)
		}
		// The stream is the session's now: nothing read ahead, no deadline.
		x.Write([]byte("ping"))
		time.Sleep(time.Hour)
		got := make([]byte, 4)
		if _, err := io.ReadFull(y, got); err != nil || string(got) != "ping" {
			t.Errorf("after the handshake: %q, %v", got, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	refuse := func(err error) func(Hello) error { return func(Hello) error { return err } }
	own := errors.New("payload is bad")
	tests := []struct {
		name             string
		change           func(b *Hello)
		verifyA, verifyB func(Hello) error
		want             Reason
		byOpener         bool
		remoteKnown      bool // the refused side learns what the other is
	}{
		{name: "chain", change: func(b *Hello) { b.ChainID = "other" }, want: ReasonWrongChain, remoteKnown: true},
		{name: "genesis", change: func(b *Hello) { b.Genesis = []byte{9} }, want: ReasonWrongGenesis, remoteKnown: true},
		{name: "version", change: func(b *Hello) { b.VersionMin, b.VersionMax = 3, 9 }, want: ReasonWrongVersion, remoteKnown: true},
		{name: "self", change: func(b *Hello) { b.Instance = 1 }, want: ReasonSelf, remoteKnown: true},
		{name: "answerer's reason", verifyB: refuse(ReasonTooManyPeers), want: ReasonTooManyPeers},
		{name: "answerer's error", verifyB: refuse(own), want: ReasonApplication},
		{name: "answerer's permanent reason", verifyB: refuse(ReasonSelf), want: ReasonSelf, remoteKnown: true},
		{name: "opener's reason", verifyA: refuse(ReasonBanned), want: ReasonBanned, byOpener: true, remoteKnown: true},
		{name: "opener's panic", verifyA: func(Hello) error { panic("boo") }, want: ReasonApplication, byOpener: true, remoteKnown: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := testHello(1), testHello(2)
				if tt.change != nil {
					tt.change(&b)
				}
				start := time.Now()
				o, n, _, _ := meet(a, b, tt.verifyA, tt.verifyB)
				if d := time.Since(start); d != 0 {
					t.Errorf("took %v: the refusing side waited although it had been read", d)
				}
				refuser, refused := n.err, o.err
				if tt.byOpener {
					refuser, refused = refused, refuser
				}
				for side, err := range map[bool]error{false: refuser, true: refused} {
					re, ok := errors.AsType[*RefusedError](err)
					if !ok {
						t.Fatalf("error %v (%T) is no refusal", err, err)
					}
					if re.Reason != tt.want || re.ByRemote != side || !errors.Is(err, tt.want) || ReasonOf(err) != tt.want {
						t.Errorf("got %v by remote %v, want %v by remote %v", re.Reason, re.ByRemote, tt.want, side)
					}
				}
				re, _ := errors.AsType[*RefusedError](refused)
				if known := re.Remote.VersionMin != 0; known != tt.remoteKnown {
					t.Errorf("refused side knows of the other: %v, want %v", known, tt.remoteKnown)
				}
				if tt.name == "answerer's error" && (!errors.Is(refuser, own) || errors.Is(refused, own)) {
					t.Errorf("cause is %v here and %v there", refuser, refused)
				}
				if pe, ok := errors.AsType[*PanicError](refuser); strings.Contains(tt.name, "panic") && (!ok || len(pe.Stack) == 0) {
					t.Errorf("%v does not carry the panic", refuser)
				}
			})
		})
	}
}

// A verify that says ReasonNone through an error interface has accepted.
func TestVerifyReasonNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := func(Hello) error { return ReasonNone }
		if o, n, _, _ := meet(testHello(1), testHello(2), ok, ok); o.err != nil || n.err != nil {
			t.Fatalf("opener: %v, answerer: %v", o.err, n.err)
		}
	})
}

// script plays a hostile other side that writes frames and then stays silent.
func script(s *end, frames ...[]byte) {
	for _, f := range frames {
		s.Write(f)
	}
}

func frameOf(m message) []byte { return appendFrame(nil, m.encode()) }

func TestOutOfTurn(t *testing.T) {
	hello := testHello(2)
	helloFrame := frameOf(message{hello: &hello})
	acceptFrame := frameOf(message{accept: &accept{version: 2}})
	refusalFrame := frameOf(message{refusal: &refusal{reason: ReasonBanned}})
	tests := []struct {
		name   string
		role   func(context.Context, Stream, Hello, func(Hello) error) (Result, error)
		frames [][]byte
		want   Reason
	}{
		{"repeated hello", Answer, [][]byte{helloFrame, helloFrame}, ReasonProtocol},
		{"accept without hello", Answer, [][]byte{acceptFrame}, ReasonProtocol},
		{"refusal without hello", Answer, [][]byte{refusalFrame}, ReasonProtocol},
		{"accept of another version", Answer, [][]byte{helloFrame, frameOf(message{accept: &accept{version: 1}})}, ReasonProtocol},
		{"accept instead of hello", Open, [][]byte{acceptFrame}, ReasonProtocol},
		{"zero-length frame", Answer, [][]byte{{0}}, ReasonProtocol},
		{"length above the limit", Answer, [][]byte{{0x81, 0x80, 0x04}}, ReasonProtocol},
		{"length 2^63", Open, [][]byte{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0x01}}, ReasonProtocol},
		{"length not shortest", Open, [][]byte{{0x85, 0x00}}, ReasonProtocol},
		{"not protobuf", Open, [][]byte{{3, 0xff, 0xff, 0xff}}, ReasonProtocol},
		{"silent", Answer, nil, ReasonTimeout},
		{"half a frame, then silent", Answer, [][]byte{helloFrame[:20]}, ReasonTimeout},
		{"no accept", Answer, [][]byte{helloFrame}, ReasonTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, y := pipe()
				script(y, tt.frames...)
				start := time.Now()
				_, err := tt.role(t.Context(), x, testHello(1), nil)
				if !errors.Is(err, tt.want) || ReasonOf(err) != tt.want {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if ne, ok := errors.AsType[net.Error](err); !ok || ne.Timeout() != (tt.want == ReasonTimeout) {
					t.Errorf("%v as a net.Error: %v", err, ok)
				}
				if !x.wasReset() {
					t.Error("stream was not reset")
				}
				if d := time.Since(start); tt.want == ReasonTimeout && d != DefaultTimeout {
					t.Errorf("took %v, want %v", d, DefaultTimeout)
				}
			})
		})
	}
}

func TestTruncatedThenFIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pipe()
		hello := testHello(2)
		script(y, frameOf(message{hello: &hello})[:20])
		y.CloseWrite()
		_, err := Answer(t.Context(), x, testHello(1), nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ReasonTransportLost) {
			t.Errorf("error %v, want an unexpected EOF", err)
		}
	})
}

// One byte every 3 s keeps the stream alive but not the deadline.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pipe()
		hello := testHello(2)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for _, b := range frameOf(message{hello: &hello}) {
				y.Write([]byte{b})
				select {
				case <-time.After(3 * time.Second):
				case <-ctx.Done():
					return
				}
			}
		}()
		start := time.Now()
		_, err := Answer(ctx, x, testHello(1), nil)
		if !errors.Is(err, ReasonTimeout) || time.Since(start) != DefaultTimeout {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestContext(t *testing.T) {
	tests := []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want Reason
	}{
		{"deadline", func(c context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(c, 2*time.Second)
		}, ReasonTimeout},
		{"cancelled", func(c context.Context) (context.Context, context.CancelFunc) {
			c, cancel := context.WithCancel(c)
			time.AfterFunc(2*time.Second, cancel)
			return c, cancel
		}, ReasonRequested},
		{"cancelled with a reason", func(c context.Context) (context.Context, context.CancelFunc) {
			c, cancel := context.WithCancelCause(c)
			time.AfterFunc(2*time.Second, func() { cancel(ReasonShuttingDown) })
			return c, func() { cancel(nil) }
		}, ReasonShuttingDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tt.ctx(t.Context())
				defer cancel()
				x, _ := pipe()
				start := time.Now()
				_, err := Open(ctx, x, testHello(1), nil)
				if ReasonOf(err) != tt.want || time.Since(start) != 2*time.Second {
					t.Errorf("error %v after %v, want %v after 2s", err, time.Since(start), tt.want)
				}
				if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
					t.Errorf("error %v does not wrap %v", err, context.Cause(ctx))
				}
			})
		})
	}
}

// A refused peer that does not close its side is waited for, but not long.
func TestLingerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pipe()
		hello := testHello(2)
		hello.ChainID = "other"
		script(y, frameOf(message{hello: &hello}))
		start := time.Now()
		_, err := Answer(t.Context(), x, testHello(1), nil)
		if !errors.Is(err, ReasonWrongChain) || time.Since(start) != linger {
			t.Errorf("error %v after %v, want a refusal after %v", err, time.Since(start), linger)
		}
	})
}

func TestInvalidLocalHello(t *testing.T) {
	x, _ := pipe()
	h := testHello(1)
	h.Payload = make([]byte, MaxPayload+1)
	h.Capabilities = []string{"with space", ""}
	_, err := Open(t.Context(), x, h, nil)
	if err == nil || !x.wasReset() {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"payload", "capability 0", "capability 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not speak of %s", err, want)
		}
	}
}

// counting reads one declared length and counts what is asked of the reader.
type counting struct {
	r     io.Reader
	asked int
}

func (c *counting) Read(p []byte) (int, error) {
	c.asked = max(c.asked, len(p))
	return c.r.Read(p)
}

// A declared length costs nothing until bytes arrive.
func TestBodyGrowsAsItArrives(t *testing.T) {
	c := &counting{r: bytes.NewReader([]byte{0x80, 0x80, 0x04, 1, 2, 3})}
	if _, err := readFrame(c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if c.asked > 1024 {
		t.Errorf("a buffer of %d bytes stood ready for 3", c.asked)
	}
}

// Whatever an opener sends, the answerer ends, and accepts nothing but a hello
// of its own chain and an accept.
func FuzzAnswer(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		x, y := pipe()
		y.Write(b)
		y.CloseWrite()
		asked := 0
		// The peer has gone, so that a refusal need not be waited for.
		_, err := Answer(t.Context(), x, testHello(1), func(remote Hello) error {
			asked++
			if remote.ChainID != "testchain" || !bytes.Equal(remote.Genesis, []byte{1, 2, 3}) || remote.Instance == 1 {
				t.Fatalf("asked about %+v", remote)
			}
			return nil
		})
		if asked > 1 || err == nil && asked == 0 {
			t.Fatalf("asked %d times, error %v", asked, err)
		}
		if r := ReasonOf(err); err != nil && (r == ReasonNone || !r.Known() && !errors.As(err, new(*RefusedError))) {
			t.Fatalf("reason %v of %v", r, err)
		}
	})
}
