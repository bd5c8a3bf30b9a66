package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a bridge in the in-memory network: a local client on one side of it,
// a stream to a peer on the other.
type rig struct {
	t      *testing.T
	reg    *Registry
	group  *Group
	client *testnet.Conn  // the local program
	peer   network.Stream // the peer's end
	ended  chan error     // what Bridge returned
	stream Info
}

const proto = "/x/test"

func inRig(t *testing.T, set Settings, test func(t *testing.T, r *rig)) {
	t.Helper()
	inRigWith(t, set, func(c net.Conn) net.Conn { return c }, test)
}

// inRigWith has something around the bridge's end of the local connection.
func inRigWith(t *testing.T, set Settings, wrap func(net.Conn) net.Conn, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(1, testnet.WithLink(testnet.Link{Latency: time.Millisecond}))
		a, b := n.Host(t, n.Node(1)), n.Host(t, n.Node(2))
		peers := make(chan network.Stream, 1)
		b.SetStreamHandler(proto, func(s network.Stream) { peers <- s })
		if err := a.Connect(t.Context(), testnet.Info(b)); err != nil {
			t.Fatal(err)
		}
		s, err := a.NewStream(t.Context(), b.ID(), proto)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("x")); err != nil { // completes the negotiation
			t.Fatal(err)
		}
		r := &rig{t: t, reg: NewRegistry(Config{}), peer: <-peers, ended: make(chan error, 1)}
		if _, err := io.ReadFull(r.peer, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		ln, err := n.Listen(netip.AddrPortFrom(n.Node(1), 0))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		at := ln.Addr().(*net.TCPAddr).AddrPort()
		if r.client, err = n.Dial(t.Context(), n.Node(1), at); err != nil {
			t.Fatal(err)
		}
		local, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		set.Protocol = proto
		r.group = r.reg.NewGroup(set)
		st, _, err := r.group.Open(context.Background(), b.ID(), Outbound)
		if err != nil {
			t.Fatal(err)
		}
		r.stream = st.Info()
		go func() { r.ended <- st.Bridge(wrap(local), s, nil) }()
		synctest.Wait()
		test(t, r)
		_ = r.client.Close()
		_ = r.peer.Reset()
		r.reg.Shutdown()
		if r.reg.Len() != 0 {
			t.Error("a stream is left")
		}
	})
}

func (r *rig) wantEnd(target error) {
	r.t.Helper()
	synctest.Wait()
	select {
	case err := <-r.ended:
		if !errors.Is(err, target) {
			r.t.Errorf("bridge ended with %v, want %v", err, target)
		}
	default:
		r.t.Errorf("the bridge still runs, state %v", r.now().State)
	}
}

func (r *rig) now() Info {
	i, _ := r.reg.Get(r.stream.ID)
	return i
}

func (r *rig) wantState(s State) {
	r.t.Helper()
	synctest.Wait()
	if got := r.now().State; got != s {
		r.t.Errorf("state %v, want %v", got, s)
	}
}

func TestBridgeHalfCloseByLocal(t *testing.T) {
	inRig(t, Settings{}, func(t *testing.T, r *rig) {
		_, _ = io.WriteString(r.client, "question")
		_ = r.client.CloseWrite()
		if got, err := io.ReadAll(r.peer); err != nil || string(got) != "question" {
			t.Errorf("peer got %q, %v", got, err)
		}
		r.wantState(LocalDone)
		time.Sleep(time.Hour)
		_, _ = io.WriteString(r.peer, "answer")
		_ = r.peer.Close()
		if got, err := io.ReadAll(r.client); err != nil || string(got) != "answer" {
			t.Errorf("client got %q, %v", got, err)
		}
		r.wantEnd(nil)
	})
}

func TestBridgeHalfCloseByPeer(t *testing.T) {
	inRig(t, Settings{}, func(t *testing.T, r *rig) {
		_, _ = io.WriteString(r.peer, "hello")
		_ = r.peer.CloseWrite()
		if got, err := io.ReadAll(r.client); err != nil || string(got) != "hello" {
			t.Errorf("client got %q, %v", got, err)
		}
		r.wantState(PeerDone)
		time.Sleep(time.Hour)
		_, _ = io.WriteString(r.client, "bye")
		_ = r.client.Close()
		if got, err := io.ReadAll(r.peer); err != nil || string(got) != "bye" {
			t.Errorf("peer got %q, %v", got, err)
		}
		r.wantEnd(nil)
	})
}

func TestBridgeResets(t *testing.T) {
	for name, reset := range map[string]func(r *rig){
		"by peer":     func(r *rig) { _ = r.peer.Reset() },
		"by client":   func(r *rig) { r.client.Reset() },
		"by registry": func(r *rig) { r.reg.Close(ByProtocol(proto)) },
		"by info":     func(r *rig) { _ = r.stream.Close() },
		"by group":    func(r *rig) { r.group.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, Settings{}, func(t *testing.T, r *rig) {
				reset(r)
				synctest.Wait()
				time.Sleep(time.Second)
				if name != "by client" {
					if _, err := r.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("client: %v", err)
					}
				}
				if name != "by peer" {
					if _, err := r.peer.Read(make([]byte, 1)); !errors.Is(err, network.ErrReset) {
						t.Errorf("peer: %v", err)
					}
				}
				if err := <-r.ended; err == nil {
					t.Error("a clean end")
				}
				if _, running := r.reg.Get(r.stream.ID); running {
					t.Error("still listed")
				}
				_ = r.stream.Close() // does nothing more
			})
		})
	}
}

func TestBridgeTellsWhyItWasReset(t *testing.T) {
	for code, want := range map[network.StreamErrorCode]error{
		network.StreamGated:                 ErrNotAdmitted,
		network.StreamResourceLimitExceeded: ErrLimit,
		CodeTargetRefused:                   ErrTargetRefused,
		network.StreamNoError:               network.ErrReset,
	} {
		inRig(t, Settings{}, func(t *testing.T, r *rig) {
			_ = r.peer.ResetWithError(code)
			time.Sleep(time.Second)
			if err := r.stream.Err(); !errors.Is(err, want) || !errors.Is(err, network.ErrReset) {
				t.Errorf("code %#x: %v", code, err)
			}
			r.wantEnd(want)
		})
	}
}

// The client is gone while the peer goes on sending: what the client sent first
// still arrives, and the peer is told to stop.
func TestBridgeClientGone(t *testing.T) {
	inRig(t, Settings{}, func(t *testing.T, r *rig) {
		_, _ = io.WriteString(r.client, "last words")
		_ = r.client.Close()
		if got, err := io.ReadAll(r.peer); err != nil || string(got) != "last words" {
			t.Errorf("peer got %q, %v", got, err)
		}
		var err error
		for range 1000 {
			if _, err = r.peer.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		if err == nil {
			t.Error("the peer goes on sending into nothing")
		}
		synctest.Wait()
		<-r.ended
	})
}

func TestBridgeIdle(t *testing.T) {
	inRig(t, Settings{Idle: time.Minute}, func(t *testing.T, r *rig) {
		for range 10 { // traffic in one direction is enough
			time.Sleep(50 * time.Second)
			_, _ = r.peer.Write([]byte("x"))
			if _, err := io.ReadFull(r.client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if r.reg.Len() != 1 {
			t.Error("ended too early")
		}
		time.Sleep(16 * time.Second)
		r.wantEnd(ErrIdle)
		var ne net.Error
		if err := r.stream.Err(); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}
	})
}

// Bulk data passes unchanged, both ways at once, with readers that lag.
func TestBridgeBulk(t *testing.T) {
	inRig(t, Settings{}, func(t *testing.T, r *rig) {
		data := bytes.Repeat([]byte("0123456789"), 300_000)
		var wg sync.WaitGroup
		send := func(w io.Writer, done func() error) {
			wg.Go(func() {
				_, _ = io.Copy(w, bytes.NewReader(data))
				_ = done()
			})
		}
		receive := func(who string, from io.Reader) {
			wg.Go(func() {
				var got []byte
				buf := make([]byte, 100_000)
				for {
					n, err := from.Read(buf)
					got = append(got, buf[:n]...)
					if err != nil {
						if !bytes.Equal(got, data) || !errors.Is(err, io.EOF) {
							t.Errorf("%s got %d of %d bytes, %v", who, len(got), len(data), err)
						}
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		send(r.client, r.client.CloseWrite)
		send(r.peer, r.peer.CloseWrite)
		receive("client", r.client)
		receive("peer", r.peer)
		wg.Wait()
		r.wantEnd(nil)
		if got := r.group.Totals(); got.BytesIn != uint64(len(data)) || got.BytesOut != uint64(len(data)) {
			t.Errorf("totals %+v", got)
		}
	})
}

// A stream that is closed while it is dialled ends the dialling.
func TestCloseWhileDialling(t *testing.T) {
	reg := NewRegistry(Config{})
	s, ctx, err := reg.NewGroup(Settings{}).Open(t.Context(), "peer", Outbound)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan []Info)
	go func() { closed <- reg.Close(All()) }()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("cause %v", err)
	}
	s.Fail(context.Cause(ctx))
	if got := <-closed; len(got) != 1 || got[0].State != Dialing {
		t.Errorf("closed %+v", got)
	}
	s.Fail(errors.New("again")) // does nothing more
	reg.Shutdown()
	if _, _, err := reg.NewGroup(Settings{}).Open(t.Context(), "peer", Outbound); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Open after Shutdown: %v", err)
	}
}

func TestLimits(t *testing.T) {
	var calls []string
	reg := NewRegistry(Config{
		Limits:  Limits{Total: 6, PerPeer: 4},
		Hold:    func(p peer.ID) { calls = append(calls, "+"+string(p)) },
		Release: func(p peer.ID) { calls = append(calls, "-"+string(p)) },
	})
	small := reg.NewGroup(Settings{Limits: Limits{Total: 3, PerPeer: 2}})
	wide := reg.NewGroup(Settings{})
	var open []*Stream
	for _, tc := range []struct {
		group *Group
		peer  peer.ID
		want  Scope // "" for success
	}{
		{small, "a", ""},
		{small, "a", ""},
		{small, "a", ScopeTunnelPeer},
		{small, "b", ""},
		{small, "c", ScopeTunnel},
		{wide, "a", ""},
		{wide, "a", ""},
		{wide, "a", ScopePeer},
		{wide, "b", ""},
		{wide, "c", ScopeTotal},
	} {
		s, _, err := tc.group.Open(t.Context(), tc.peer, Inbound)
		if tc.want == "" {
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
			continue
		}
		var le *LimitError
		if !errors.As(err, &le) || le.Scope != tc.want || !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), string(tc.want)) {
			t.Errorf("%s: %v, want %s", tc.peer, err, tc.want)
		}
	}
	if got := small.Totals(); got.Active != 3 || got.Accepted != 3 || got.Refused != 2 {
		t.Errorf("totals %+v", got)
	}
	for _, s := range open {
		s.Fail(ErrClosed)
	}
	if diff := cmp.Diff([]string{"+a", "+b", "-a", "-b"}, calls); diff != "" {
		t.Error(diff)
	}
	if reg.Len() != 0 || len(reg.perPeer) != 0 || len(small.perPeer) != 0 {
		t.Error("something is left")
	}
}

func TestMatches(t *testing.T) {
	i := Info{ID: 7, Listener: 3, Protocol: proto, Peer: "a", Local: "1.2.3.4:5"}
	for name, m := range map[string][2]Match{
		"id":       {ByID(7), ByID(8)},
		"listener": {ByListener(3), ByListener(4)},
		"protocol": {ByProtocol(proto), ByProtocol("/x/other")},
		"peer":     {ByPeer("a"), ByPeer("b")},
		"local":    {ByLocal("1.2.3.4:5"), ByLocal("")},
	} {
		if !m[0](i) || m[1](i) {
			t.Errorf("by %s is wrong", name)
		}
	}
}
