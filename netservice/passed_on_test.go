package netservice_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// isBad tells what the strict node of these tests rejects.
func isBad(b []byte) bool { return bytes.HasPrefix(b, []byte("bad")) }

// No honest node is banned for what another one sent through it, when it cannot know:
// A sends B, small and large, what B takes, as it has no validator, no Check of headers,
// or judges by older rules; C rejects it. B stays a peer of C and is not held to be worth
// nothing in other types; A, which says that it judges as C does, is banned as soon as it
// sends the same to C itself.
func TestPassedOn(t *testing.T) {
	const small, large = 100, 300 << 10
	for name, c := range map[string]passing{
		"no validator, small":        {size: small},
		"no validator, large":        {size: large, checks: true},
		"no validator, large, whole": {size: large},
		"older rules, small":         {size: small, old: true, validator: true},
		"older rules, large":         {size: large, old: true, validator: true, headers: true, checks: true},
		"no check of headers":        {size: large, validator: true, checks: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) { passOn(t, nw, c) })
		})
	}
}

// passing is a case of TestPassedOn.
type passing struct {
	size                    int
	old, validator, headers bool // of B: older rules than C's, has a validator, checks headers
	checks                  bool // C checks headers, and rejects them before the whole comes
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func passOn(t *testing.T, nw *nettest.Network, p passing) {
	typeOf := func(rules uint32) *netservice.Type[[]byte] {
		return netservice.Declare("block", netservice.Raw(), netservice.MaxSize(1<<20), netservice.WithGossip(netservice.GossipSpec{Rules: rules}))
	}
	strict, lax := typeOf(2), typeOf(2)
	if p.old {
		lax = typeOf(1)
	}
	accept := func(context.Context, netservice.Received[[]byte]) netservice.Verdict { return netservice.Accept() }
	mark := func(_ netservice.LargeHeader, data []byte) ([]byte, error) { return data[:8], nil }
	check := func(bad netservice.Verdict) func(context.Context, netservice.LargeHeader) netservice.Verdict {
		return func(_ context.Context, h netservice.LargeHeader) netservice.Verdict {
			if isBad(h.Header) {
				return bad
			}
			return netservice.Accept()
		}
	}
	burst := 1 // messages at once: one that leaves the mesh gets those that are on their way
	if p.size < 1000 {
		burst = 10
	}
	var judged atomic.Int64 // by C
	var line []*nettest.Node
	good := make(chan string, 1000) // at C
	for i := range 3 {
		cfg := chain()
		cfg.NoPeerExchange = true
		if i > 0 {
			cfg.Bootstrap = []string{line[i-1].Addr()}
		}
		n := nw.Add(cfg, quiet())
		line = append(line, n)
		s, typ := n.Service(), strict
		h := netservice.Headers{Make: mark}
		validate := accept
		switch i {
		case 0: // says that it judges, as C does
			if p.checks {
				h.Check = check(netservice.Accept())
			}
		case 1:
			typ = lax
			if !p.validator {
				validate = nil
			}
			if p.headers {
				h.Check = check(netservice.Accept())
			}
		case 2:
			if p.checks {
				h.Check = check(netservice.Reject())
			}
			validate = func(_ context.Context, m netservice.Received[[]byte]) netservice.Verdict {
				judged.Add(1)
				if isBad(m.Value) {
					return netservice.Reject()
				}
				return netservice.Accept()
			}
		}
		if validate != nil {
			noErr(t, typ.Validate(s, validate))
		}
		noErr(t, s.SetHeaders("block", h))
		_, err := typ.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) {
			if i == 2 {
				good <- string(m.Value[:8])
			}
		})
		noErr(t, err)
		_, err = text.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) {
			if i == 2 {
				good <- string(m.Value)
			}
		})
		noErr(t, err)
	}
	nw.Start()
	a, b, c := line[0], line[1], line[2]
	b.WaitForPeers(2)
	time.Sleep(5 * time.Second)
	send := func(typ *netservice.Type[[]byte], from *nettest.Node, word string) {
		t.Helper()
		noErr(t, typ.Broadcast(t.Context(), from.Service(), append([]byte(word), make([]byte, p.size)...)))
	}
	for i := range 60 {
		for k := range burst {
			send(strict, a, fmt.Sprintf("bad %02d%02d", i, k))
		}
		time.Sleep(time.Second)
	}
	if n := judged.Load(); !p.checks && (n < 3 || n > 20) {
		t.Errorf("%d messages were judged in a minute, want 3 to 20", n)
	}
	noErr(t, text.Broadcast(t.Context(), b.Service(), []byte("another type")))
	if got := next(t, "message of another type", good); got != "another type" {
		t.Errorf("C got %q", got)
	}
	blamed := func(when string) {
		t.Helper()
		for _, info := range c.Service().Peers() {
			if info.ID == b.ID() && info.Value.Penalty != 0 {
				t.Errorf("%s: something is held against B: %+v", when, info.Value)
			}
		}
		if w, err := c.Service().Why(b.ID().String()); err != nil || !w.Connected || w.Banned != nil {
			t.Errorf("%s: B is no peer of C: %+v, %v", when, w, err)
		}
	}
	blamed("A sends through B")
	if n := len(c.Service().Bans()); n != 0 {
		t.Errorf("C has %d bans", n)
	}
	time.Sleep(3 * time.Minute) // the mesh may be made anew
	send(lax, b, "good 001")
	if got := next(t, "good message of B's", good); got != "good 001" {
		t.Errorf("C got %q", got)
	}

	noErr(t, a.Service().ConnectPeer(t.Context(), c.Addr()))
	time.Sleep(3 * time.Second)
	for i := range 20 {
		send(strict, a, fmt.Sprintf("bad A%03d", i))
		time.Sleep(time.Second)
	}
	blamed("A sends to C")
	if all := c.Service().Bans(); len(all) != 1 || all[0].Peer != a.ID() {
		t.Errorf("C bans %+v, want A alone", all)
	}
}
