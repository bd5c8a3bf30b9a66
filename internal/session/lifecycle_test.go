package session

import (
	"context"
	"errors"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/libp2p/go-libp2p/core/network"
)

var tx = msgtype.Spec{Name: "tx"}

func TestMessageBeforeHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		b := simNode(t, net, 1, nil, tx)
		stranger := simHost(t, net, 2)
		st := open(t, stranger, b, "tx")
		write(t, st, frames(newCodec(), msgtype.CompressNone, []byte("too early")))
		if _, err := ended(t, st); !errors.Is(err, network.ErrReset) {
			t.Errorf("stream ended with %v, want a reset", err)
		}
		if got := b.messages("tx"); got != nil {
			t.Errorf("delivered %q", got)
		}
		if n := b.counted(obs.StreamsRefused + refuseNoSession); n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

// TestCloseDelivers closes at once after a burst: what was queued arrives, and
// the peer learns the reason.
func TestCloseDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, sb := join(t, a, b)
		for i := range 1000 {
			send(t, sa, "tx", fmt.Sprint(i, string(make([]byte, 1000))))
		}
		sa.Close(handshake.ReasonRequested)
		<-sb.Done()
		if n := len(b.messages("tx")); n != 1000 {
			t.Errorf("%d of 1000 messages arrived", n)
		}
		if r, byRemote := sb.Reason(); r != handshake.ReasonRequested || !byRemote {
			t.Errorf("remote side: %v, %v", r, byRemote)
		}
		if r, byRemote := sa.Reason(); r != handshake.ReasonRequested || byRemote {
			t.Errorf("local side: %v, %v", r, byRemote)
		}
		balance(t, sa)
		err := trySend(sa, "tx", nil, SendOptions{})
		if !errors.Is(err, net0Closed) || !errors.Is(err, handshake.ReasonRequested) {
			t.Errorf("send on a closed session: %v", err)
		}
		synctest.Wait() // AfterDone has a goroutine of its own
		if a.sessionWith(b.host) != nil || b.sessionWith(a.host) != nil {
			t.Error("a closed session is still there")
		}
		sa.Close(handshake.ReasonBanned) // idempotent
		if r, _ := sa.Reason(); r != handshake.ReasonRequested {
			t.Errorf("second close changed the reason to %v", r)
		}
	})
}

var net0Closed = net.ErrClosed

func TestBothClose(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, sb := join(t, a, b)
		for i := range 100 {
			send(t, sa, "tx", fmt.Sprint(i))
			send(t, sb, "tx", fmt.Sprint(i))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			sb.Close(handshake.ReasonShuttingDown)
		}()
		sa.Close(handshake.ReasonRequested)
		<-done
		if x, y := len(a.messages("tx")), len(b.messages("tx")); x != 100 || y != 100 {
			t.Errorf("%d and %d of 100 messages arrived", x, y)
		}
	})
}

func TestTransportLost(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, sb := join(t, a, b)
		net.Reset(net.Node(1), net.Node(2))
		<-sa.Done()
		<-sb.Done()
		if r, byRemote := sa.Reason(); r != handshake.ReasonTransportLost || byRemote {
			t.Errorf("reason %v, by the peer: %v", r, byRemote)
		}
	})
}

// TestReplaced attaches a second session: its messages are not touched by the
// end of the first.
func TestReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		old, oldB := join(t, a, b)
		send(t, old, "tx", "old")
		neu, neuB := join(t, a, b)
		send(t, neu, "tx", "new")
		<-old.Done()
		<-oldB.Done()
		if r, _ := old.Reason(); r != handshake.ReasonReplaced {
			t.Errorf("reason %v", r)
		}
		synctest.Wait()
		if a.sessionWith(b.host) != neu || b.sessionWith(a.host) != neuB {
			t.Fatal("the end of the old session removed the new one")
		}
		send(t, neu, "tx", "newer")
		send(t, neuB, "tx", "back")
		b.await(t, "all of a's", func() bool { return len(b.got["tx"]) == 3 })
		a.await(t, "b's", func() bool { return len(a.got["tx"]) == 1 })
	})
}

// TestIdleStreams: a stream without traffic is closed and opened again on
// demand, and costs nobody a goroutine meanwhile.
func TestIdleStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, sb := join(t, a, b)
		for i := range 3 {
			send(t, sa, "tx", "m")
			b.await(t, "the message", func() bool { return len(b.got["tx"]) == i+1 })
			if n := sb.openInbound(); n != 1 {
				t.Errorf("%d streams while in use", n)
			}
			time.Sleep(20 * time.Second)
			if n := sb.openInbound(); n != 0 {
				t.Errorf("%d streams when idle", n)
			}
		}
		st := sa.Stats().Types["tx"].Send
		if st.Streams != 3 || st.Written != 3 {
			t.Errorf("%+v", st)
		}
		if f := b.faulted(); f != nil {
			t.Errorf("faults %v", f)
		}
	})
}

// TestEngineCloseNamesTheStuck: a delivery that ignores its context does not
// hang Close.
func TestEngineCloseNamesTheStuck(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		free := make(chan struct{})
		entered := make(chan struct{})
		b.handle = func(context.Context, string, [][]byte) error {
			close(entered)
			<-free
			return nil
		}
		sa, _ := join(t, a, b)
		send(t, sa, "tx", "m")
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := b.engine.Close(ctx)
		stuck, ok := errors.AsType[*StuckError](err)
		if !ok || !slices.Equal(stuck.Types, []string{"tx"}) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		close(free)
		if err := b.engine.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
		if err := b.engine.Set(msgtype.Spec{Name: "late"}, true); !errors.Is(err, ErrClosed) {
			t.Errorf("set after close: %v", err)
		}
	})
}
