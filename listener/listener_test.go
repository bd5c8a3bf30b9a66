package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a net.Listener whose Accept plays back results, then waits.
type script struct {
	mu     sync.Mutex
	errs   []error // nil: a connection
	at     []time.Time
	closed chan struct{}
	once   sync.Once
}

func newScript(errs ...error) *script { return &script{errs: errs, closed: make(chan struct{})} }

func (s *script) Accept() (net.Conn, error) {
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		c, _ := net.Pipe()
		return c, nil
	}
	s.mu.Unlock()
	<-s.closed
	return nil, net.ErrClosed
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *script) Addr() net.Addr { return &net.TCPAddr{} }

func add(t *testing.T, r *Registry, cfg Config) *Listener {
	t.Helper()
	cfg.Group = stream.NewRegistry(stream.Config{}).NewGroup(stream.Settings{})
	if cfg.Context == nil {
		cfg.Context = context.Background()
	}
	l, err := r.Add(r.NextID(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		errs := []error{full}
		for range 11 {
			errs = append(errs, full)
		}
		s := newScript(append(errs, nil, full, nil)...)
		o := obs.Discard()
		o.Logger().SetLevel(logrus.InfoLevel)
		lines := logtest.NewLocal(o.Logger())
		r := NewRegistry(o.Logger(), o.Registry())
		l := add(t, r, Config{Kind: Local, Listen: ma.StringCast("/ip4/127.0.0.1/tcp/9090"), Stop: s.Close})
		got := 0
		l.Serve(s, func(c net.Conn) { got++; _ = c.Close() })
		time.Sleep(time.Minute)
		synctest.Wait()
		if got != 2 {
			t.Fatalf("%d connections", got)
		}
		want := []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 0, 5}
		for i, d := range want {
			if gap := s.at[i+1].Sub(s.at[i]); gap != d*time.Millisecond {
				t.Errorf("pause %d is %v, want %v", i, gap, d*time.Millisecond)
			}
		}
		if l.Info().State != Listening {
			t.Errorf("state %v", l.Info().State)
		}
		// Each error counts, and one line in ten seconds tells.
		if n := o.Counter(obs.TunnelAcceptErrors).Count(); n != 13 {
			t.Errorf("%d errors counted", n)
		}
		if all := lines.AllEntries(); len(all) != 1 || all[0].Level != logrus.WarnLevel ||
			!strings.Contains(fmt.Sprint(all[0].Data["error"]), syscall.EMFILE.Error()) {
			t.Errorf("logged %v", all)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Closing does not wait for the end of a pause.
func TestCloseDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make([]error, 100)
		for i := range errs {
			errs[i] = syscall.ENFILE
		}
		s := newScript(errs...)
		l := add(t, NewRegistry(nil, nil), Config{Stop: s.Close})
		l.Serve(s, func(net.Conn) {})
		time.Sleep(10*time.Second + 100*time.Millisecond)
		begin := time.Now()
		_ = l.Close()
		if d := time.Since(begin); d != 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// A fatal error takes the listener out of the list, closes what it holds, and
// tells it.
func TestFatalAcceptErrorEndsTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the socket is broken")
		s := newScript(nil, broken)
		r := NewRegistry(nil, nil)
		stopped := 0
		l := add(t, r, Config{Stop: s.Close, Stopped: func() { stopped++ }})
		l.Serve(s, func(c net.Conn) { _ = c.Close() })
		<-l.Info().Done()
		synctest.Wait()
		info := l.Info()
		if info.State != Failed || !errors.Is(info.Err(), broken) || len(r.List()) != 0 || stopped != 1 {
			t.Errorf("%+v, error %v, stopped %d times", info, info.Err(), stopped)
		}
		select {
		case <-s.closed:
		default:
			t.Error("the socket is still open")
		}
		_ = info.Close() // does nothing more
		if stopped != 1 {
			t.Errorf("stopped %d times", stopped)
		}
	})
}

func TestRegistry(t *testing.T) {
	r := NewRegistry(nil, nil)
	here, there := ma.StringCast("/ip4/127.0.0.1/tcp/1"), ma.StringCast("/ip4/127.0.0.1/tcp/2")
	a := add(t, r, Config{Kind: Local, Protocol: "/x/a", Listen: here, Target: there})
	b := add(t, r, Config{Kind: Remote, Protocol: "/x/b", Listen: there, Target: here})
	if _, err := r.Add(r.NextID(), Config{Kind: Program, Protocol: "/x/b"}); !errors.Is(err, ErrProtocolTaken) {
		t.Errorf("taken protocol: %v", err)
	}
	again := add(t, r, Config{Kind: Local, Protocol: "/x/b", Listen: here})
	for name, tc := range map[string]struct {
		match Match
		want  []uint64
	}{
		"id":       {ByID(a.id), []uint64{a.id}},
		"protocol": {ByProtocol("/x/b"), []uint64{b.id, again.id}},
		"target":   {ByTarget(there), []uint64{a.id}},
		"listen":   {ByListenAddress(here), []uint64{a.id, again.id}},
		"nothing":  {ByTarget(nil), nil},
		"all":      {All(), []uint64{a.id, b.id, again.id}},
	} {
		var got []uint64
		for _, l := range r.match(tc.match) {
			got = append(got, l.id)
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if i, ok := r.Get(b.id); !ok || i.Protocol != "/x/b" || i.Kind.String() != "remote" {
		t.Errorf("Get: %+v", i)
	}
	_ = b.Close()
	if _, ok := r.Get(b.id); ok {
		t.Error("closed and still listed")
	}
	add(t, r, Config{Kind: Program, Protocol: "/x/b"}) // free again
	r.Shutdown()
	if len(r.List()) != 0 {
		t.Error("listeners after Shutdown")
	}
	if _, err := r.Add(r.NextID(), Config{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Add after Shutdown: %v", err)
	}
}

func TestContextClosesTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		r := NewRegistry(nil, nil)
		s := newScript()
		l := add(t, r, Config{Stop: s.Close, Context: ctx})
		l.Serve(s, func(net.Conn) {})
		cancel()
		<-l.Info().Done()
		if err := l.Info().Err(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Err: %v", err)
		}
		r.Shutdown()
		// A context that has ended already.
		r = NewRegistry(nil, nil)
		l = add(t, r, Config{Context: ctx})
		<-l.Info().Done()
		r.Shutdown()
	})
}

func ExampleRegistry() {
	r := NewRegistry(nil, nil)
	defer r.Shutdown()
	l, err := r.Add(r.NextID(), Config{
		Kind: Remote, Protocol: "/x/web", Target: ma.StringCast("/ip4/127.0.0.1/tcp/8080"),
		Group: stream.NewRegistry(stream.Config{}).NewGroup(stream.Settings{}), Context: context.Background(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range r.List() {
		fmt.Println(l.ID, l.Kind, l.Protocol, l.Target, l.State)
	}
	_, running := r.Close(ByProtocol("/x/web"))
	fmt.Println(l.Info().State, len(running))
	// Output:
	// 1 remote /x/web /ip4/127.0.0.1/tcp/8080 listening
	// closed 0
}
