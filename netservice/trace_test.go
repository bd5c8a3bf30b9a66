package netservice_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// steps are those of a message in words, with the names of peers.
func steps(s *netservice.NebService, msgType, data string, names map[string]string) (list []string) {
	trace, ok := s.Trace(msgType, dispatcher.HashOf(msgType, []byte(data)))
	if !ok {
		return nil
	}
	for _, step := range trace.Steps {
		text := string(step.What)
		if step.Peer != "" {
			text += " " + names[step.Peer.String()]
		}
		if step.Detail != "" {
			text += ": " + step.Detail
		}
		list = append(list, text)
	}
	return list
}

// The way of a message is kept where tracing is on, from where it was made to where
// it was delivered, refused or passed on, whichever way it went.
func TestTraceOfOneMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a, b, c := nw.Add(chain(), quiet()), nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
		names := map[string]string{}
		for name, n := range map[string]*nettest.Node{"a": a, "b": b, "c": c} {
			names[n.Service().Node().ID().String()] = name
		}
		got := inbox(t, c.Service(), 8)
		atB := inbox(t, b.Service(), 8)
		if err := b.Service().SetValidator("text", func(_ context.Context, m dispatcher.Message) netservice.Verdict {
			if bytes.HasPrefix(m.Data(), []byte("bad")) {
				return netservice.Ignore()
			}
			return netservice.Accept()
		}); err != nil {
			t.Fatal(err)
		}
		a.Service().StartTracing("text")
		nw.Start()
		b.Service().StartTracing() // while it runs
		// a and c know each other through b only.
		if err := a.Service().BanPeer(c.Service().Node().ID().String(), time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, to := range []*nettest.Node{a, c} {
			if err := b.Service().ConnectPeer(t.Context(), to.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		send := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			time.Sleep(time.Second)
		}
		send("broadcast", text.Broadcast(t.Context(), a.Service(), []byte("good")))
		next(t, "message", got)
		next(t, "message", atB)
		send("bad broadcast", text.Broadcast(t.Context(), a.Service(), []byte("bad")))
		send("direct", text.Send(t.Context(), a.Service(), b.Service().Node().ID(), []byte("direct")))
		next(t, "message", atB)
		send("bad direct", text.Send(t.Context(), a.Service(), b.Service().Node().ID(), []byte("bad direct")))
		for _, w := range []struct {
			at    *netservice.NebService
			data  string
			steps []string
		}{
			{a.Service(), "good", []string{"published", "passed on b: broadcast"}},
			{b.Service(), "good", []string{"received a: broadcast", "validated: accept", "dispatched: delivered", "passed on c: broadcast"}},
			{b.Service(), "bad", []string{"received a: broadcast", "validated: ignore"}},
			{a.Service(), "direct", []string{"passed on b: direct"}},
			{b.Service(), "direct", []string{"received a: direct", "validated: accept", "dispatched: delivered"}},
			{b.Service(), "bad direct", []string{"received a: direct", "validated: ignore"}},
			{c.Service(), "good", nil},
		} {
			got := steps(w.at, "text", w.data, names)
			slices.Sort(got) // the dispatcher may be quicker or slower than gossip
			slices.Sort(w.steps)
			if !slices.Equal(got, w.steps) {
				t.Errorf("%s at %s: %q, want %q", w.data, names[w.at.Node().ID().String()], got, w.steps)
			}
		}
		if n := len(b.Service().Traces(10)); n != 4 {
			t.Errorf("%d messages traced, want 4", n)
		}
		type shown struct {
			Hash  string
			Steps []struct{ What, Peer, Detail string }
		}
		hash := dispatcher.HashOf("text", []byte("good"))
		if one := asked[shown](t, b.Service(), "/api/trace?type=text&hash="+hash); one.Hash != hash || len(one.Steps) != 4 {
			t.Errorf("in the API: %+v", one)
		}
		if page := look(t, b.Service(), "/trace"); !strings.Contains(page, hash) {
			t.Error("the page does not list the message")
		}
		b.Service().StopTracing()
		if page := look(t, b.Service(), "/trace"); !strings.Contains(page, "is off") || strings.Contains(page, hash) {
			t.Error("the page does not tell that tracing is off")
		}
		if _, ok := b.Service().Trace("text", dispatcher.HashOf("text", []byte("good"))); ok || b.Service().Traces(10) != nil {
			t.Error("a message is kept after the end of tracing")
		}
	})
}

// The latest 10,000 are kept, and 64 steps of each.
func TestTracesAreBounded(t *testing.T) {
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.StartTracing("text")
	if err := s.Register(dispatcher.NewHandler("h", "text", func(context.Context, dispatcher.Message) {}),
		dispatcher.NewHandler("h", "other", func(context.Context, dispatcher.Message) {})); err != nil {
		t.Fatal(err)
	}
	if err := s.Dispatcher().Start(); err != nil {
		t.Fatal(err)
	}
	put := func(msgType, data string) {
		t.Helper()
		if err := s.Dispatcher().PutMessage(dispatcher.NewMessage(msgType, "", []byte(data))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range netservice.MaxTraces + 10 {
		put("text", fmt.Sprint("message ", i))
	}
	for range netservice.MaxTraceSteps + 10 {
		put("text", "again")
	}
	put("other", "not traced")
	if err := s.Dispatcher().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := s.Traces(netservice.MaxTraces + 100)
	if len(all) != netservice.MaxTraces {
		t.Errorf("%d messages are kept", len(all))
	}
	if newest := all[0]; newest.Hash != dispatcher.HashOf("text", []byte("again")) || len(newest.Steps) != netservice.MaxTraceSteps || newest.Omitted != 10 {
		t.Errorf("newest: %d steps, %d omitted", len(newest.Steps), newest.Omitted)
	}
	for i, want := range map[int]bool{10: false, 11: true, netservice.MaxTraces + 9: true} {
		if _, ok := s.Trace("text", dispatcher.HashOf("text", fmt.Append(nil, "message ", i))); ok != want {
			t.Errorf("message %d is kept: %v, want %v", i, ok, want)
		}
	}
	if _, ok := s.Trace("other", dispatcher.HashOf("other", []byte("not traced"))); ok {
		t.Error("a type that was not named is traced")
	}
}
