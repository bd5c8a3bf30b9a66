package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

var (
	double = netservice.DeclareMethod("double", netservice.JSON[int](), netservice.JSON[int]())
	upTo   = netservice.DeclareStream("count", netservice.JSON[int](), netservice.JSON[int]())
	sum    = netservice.DeclareUpload("sum", netservice.JSON[int](), netservice.JSON[int]())
)

func serveInts(t *testing.T, s *netservice.NebService) {
	t.Helper()
	check := func(_ *netservice.Serving, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(double.Serve(s, func(_ context.Context, _ peer.ID, n int) (int, error) {
		switch {
		case n < 0:
			return 0, netservice.ErrNotFound
		case n == 1000:
			return 0, netservice.Refuse(netservice.FirstAppCode+1, "not a thousand")
		case n == 2000:
			panic("no")
		case n == 3000:
			return 0, fmt.Errorf("as it were: %w", netservice.ErrTooLarge)
		}
		return 2 * n, nil
	}))
	check(upTo.Serve(s, func(_ context.Context, _ peer.ID, to int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range to {
				if !yield(i, nil) {
					return
				}
			}
			if to == 7 {
				yield(0, netservice.RetryLater(time.Second))
			}
		}
	}))
	check(sum.Serve(s, func(_ context.Context, _ peer.ID, ns iter.Seq2[int, error]) (all int, err error) {
		for n, err := range ns {
			if err != nil {
				return 0, err
			}
			all += n
		}
		return all, nil
	}))
}

// askPair is two peers, the second of which serves.
func askPair(t *testing.T, net *nettest.Network) (a *netservice.NebService, to peer.ID, b *nettest.Node) {
	t.Helper()
	b = net.Add(chain(), quiet())
	serveInts(t, b.Service()) // before Start
	n := net.Add(booted(b), quiet())
	net.Start()
	n.WaitForPeers(1)
	return n.Service(), b.ID(), b
}

func TestRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		a, to, b := askPair(t, net)
		if n, err := double.Call(t.Context(), a, to, 21); n != 42 || err != nil {
			t.Error(n, err)
		}
		for n, want := range map[int]error{-1: netservice.ErrNotFound, 2000: netservice.ErrInternal, 3000: netservice.ErrTooLarge, 1000: netservice.FirstAppCode + 1} {
			_, err := double.Call(t.Context(), a, to, n)
			e, ok := errors.AsType[*netservice.RequestError](err)
			if !errors.Is(err, want) || !ok || e.Peer != to || n == 1000 && e.Text != "not a thousand" {
				t.Error(n, err)
			}
		}
		var got []int
		for n, err := range upTo.Call(t.Context(), a, to, 5) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, n)
		}
		if fmt.Sprint(got) != "[0 1 2 3 4]" {
			t.Error(got)
		}
		last := error(nil)
		for _, last = range upTo.Call(t.Context(), a, to, 7) {
		}
		if e, ok := errors.AsType[*netservice.RequestError](last); !ok || e.Code != netservice.ErrBusy || e.RetryAfter != time.Second {
			t.Error(last)
		}
		if n, err := sum.Call(t.Context(), a, to, numbers(100, nil)); n != 4950 || err != nil {
			t.Error(n, err)
		}
		own := errors.New("my own")
		if _, err := sum.Call(t.Context(), a, to, numbers(3, own)); err != own {
			t.Error(err)
		}
		st := b.Service().Stats().Requests.Methods["double"]
		if st.Handled != 5 || st.Answered != 1 {
			t.Errorf("%+v", st)
		}
		if st := a.Stats().Requests.Methods["double"]; st.Calls != 5 || st.Failed != 4 {
			t.Errorf("%+v", st)
		}
	})
}

// What comes of requests shows in what a peer is worth, and only there: answers do
// not count as messages that it was the first to bring.
func TestRequestsShowInTheValueOfAPeer(t *testing.T) {
	mute := netservice.DeclareMethod("mute", netservice.JSON[int](), netservice.JSON[int](), netservice.WithDeadline(time.Second))
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		a, to, b := askPair(t, net)
		_, err := mute.Serve(b.Service(), func(ctx context.Context, _ peer.ID, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := double.Call(t.Context(), a, to, i-10); err != nil && !errors.Is(err, netservice.ErrNotFound) {
				t.Fatal(err)
			}
		}
		good := a.Peers()[0].Value
		if good.Answers < 7 || good.Useful != 0 || good.Penalty != 0 {
			t.Errorf("after answers: %+v", good)
		}
		for range 20 {
			if _, err := mute.Call(t.Context(), a, to, 1); err == nil {
				t.Fatal("answered")
			}
		}
		if v := a.Peers()[0].Value; v.Answers > good.Answers-10 || v.Penalty > -15 || v.Penalty < -20 {
			t.Errorf("after calls without answers: %+v, before %+v", v, good)
		}
	})
}

// numbers yields 0 to n-1 and then an error, unless that is nil.
func numbers(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func TestRequestMistakes(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		a, to, b := askPair(t, net)
		config := func(what string, err error) {
			t.Helper()
			if _, ok := errors.AsType[*netservice.ConfigError](err); !ok {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := netservice.DeclareMethod("a/b", netservice.Raw(), netservice.Raw()).Call(t.Context(), a, to, nil)
		config("a name", err)
		_, err = netservice.DeclareMethod("x", netservice.Raw(), netservice.Raw(), netservice.MaxAnswer(-1)).Serve(a, func(context.Context, peer.ID, []byte) ([]byte, error) { return nil, nil })
		config("a limit", err)
		_, err = netservice.DeclareMethod[int, int]("x", nil, nil).Call(t.Context(), a, to, 1)
		config("no codec", err)
		_, err = double.Serve(a, nil)
		config("no handler", err)
		serveInts(t, a)
		_, err = double.Serve(a, func(context.Context, peer.ID, int) (int, error) { return 0, nil })
		if !errors.Is(err, netservice.ErrConflict) {
			t.Error("served twice:", err)
		}
		if _, err := double.Call(t.Context(), a, "nobody", 1); !errors.Is(err, netservice.ErrUnknownPeer) {
			t.Error("an unknown peer:", err)
		}
		none := netservice.DeclareMethod("none", netservice.Raw(), netservice.Raw())
		began := time.Now()
		if _, err := none.Call(t.Context(), a, to, nil); !errors.Is(err, netservice.ErrUnsupported) || time.Since(began) != 0 {
			t.Error("a method that is not offered:", err, time.Since(began))
		}
		// What does not decode is refused, and counts against its sender.
		words := netservice.DeclareMethod("double", netservice.Raw(), netservice.Raw())
		if _, err := words.Call(t.Context(), a, to, []byte("{")); !errors.Is(err, netservice.ErrBadRequest) {
			t.Error(err)
		}
		lists := netservice.DeclareMethod("double", netservice.JSON[int](), netservice.JSON[[]int]())
		if _, err := lists.Call(t.Context(), a, to, 1); !errors.Is(err, netservice.ErrBadAnswer) || !strings.Contains(err.Error(), to.String()) {
			t.Error(err)
		}
		fresh := net.Add(chain(), quiet())
		if _, err := double.Call(t.Context(), fresh.Service(), to, 1); !errors.Is(err, netservice.ErrNotStarted) {
			t.Error("before Start:", err)
		}
		b.Stop()
		if _, err := double.Call(t.Context(), b.Service(), to, 1); !errors.Is(err, netservice.ErrStopped) {
			t.Error("after Stop:", err)
		}
	})
}

// A method is offered and withdrawn while the session stands.
func TestServingEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		a, to, b := askPair(t, net)
		late := netservice.DeclareMethod("late", netservice.Raw(), netservice.Raw())
		for range 3 {
			serving, err := late.Serve(b.Service(), func(_ context.Context, _ peer.ID, d []byte) ([]byte, error) { return d, nil })
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if _, err := late.Call(t.Context(), a, to, nil); err != nil {
				t.Error("served:", err)
			}
			serving.Close()
			if err := serving.Close(); err != nil {
				t.Error(err)
			}
			if _, err := late.Call(t.Context(), a, to, nil); !errors.Is(err, netservice.ErrUnsupported) {
				t.Error("on its way while it was withdrawn:", err)
			}
			time.Sleep(time.Second)
			if _, err := late.Call(t.Context(), a, to, nil); !errors.Is(err, netservice.ErrUnsupported) {
				t.Error("withdrawn:", err)
			}
		}
	})
}

// The end of a session ends its calls, and Stop names a handler that does not end.
func TestRequestsEndWithTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, net *nettest.Network) {
		cfg := chain()
		b := net.Add(cfg, quiet())
		entered, release := make(chan bool), make(chan bool)
		stubborn := netservice.DeclareMethod("stubborn", netservice.Raw(), netservice.Raw(), netservice.WithDeadline(time.Hour))
		if _, err := stubborn.Serve(b.Service(), func(context.Context, peer.ID, []byte) ([]byte, error) {
			entered <- true
			<-release
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := b.Service().Start(); err != nil { // the network does not stop it
			t.Fatal(err)
		}
		n := net.Add(booted(b), quiet())
		n.Start()
		n.WaitForPeers(1)
		errs := make(chan error)
		go func() {
			_, err := stubborn.Call(context.Background(), n.Service(), b.ID(), nil)
			errs <- err
		}()
		<-entered
		began := time.Now()
		stopped := make(chan error)
		go func() { stopped <- b.Service().Stop() }()
		err := <-errs
		if _, ok := errors.AsType[*netservice.TransportError](err); !ok || time.Since(began) > time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		err = <-stopped
		if d := time.Since(began); err == nil || !strings.Contains(err.Error(), "stubborn (1)") || d > netservice.DefaultShutdownTimeout {
			t.Errorf("after %s: %v", d, err)
		}
		close(release)
	})
}
