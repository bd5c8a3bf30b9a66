package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// longName is a type's name of 64 bytes.
func longName(i int) string { return fmt.Sprintf("%s%04d", strings.Repeat("n", 60), i) }

// Nodes that have a thousand types with the longest names find each other through
// one boot node, and each send is right: what a peer takes arrives, from the first
// moment on, and what it does not take is an error, while types come and go.
func TestThousandTypes(t *testing.T) {
	crowd(t)
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		const types, rounds = 1000, 5
		whisper := netservice.WithoutBroadcast() // gossip has its own tests
		nodes := []*nettest.Node{nw.Add(chain(), quiet())}
		for range 3 {
			nodes = append(nodes, nw.Add(booted(nodes[0]), quiet()))
		}
		got := make([]map[string]int, len(nodes))
		var mu sync.Mutex
		subscribe := func(i, typ int) *netservice.Subscription {
			sub, err := netservice.Declare(longName(typ), netservice.Raw(), whisper).Subscribe(nodes[i].Service(),
				func(_ context.Context, m netservice.Received[[]byte]) {
					mu.Lock()
					defer mu.Unlock()
					got[i][m.Message.MessageType()+string(m.Value)]++
				})
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
		subs := make([][]*netservice.Subscription, len(nodes))
		for i := range nodes {
			got[i] = make(map[string]int)
			for typ := range types {
				subs[i] = append(subs[i], subscribe(i, typ))
			}
		}
		nw.Start()
		for i, n := range nodes {
			n.WaitForPeers(3)
			to := (i + 1) % len(nodes)
			for typ := range types { // at once, on all types
				ty := netservice.Declare(longName(typ), netservice.Raw(), whisper)
				if err := ty.Send(t.Context(), n.Service(), nodes[to].ID(), fmt.Append(nil, i)); err != nil {
					t.Fatalf("type %d from %d to %d: %v", typ, i, to, err)
				}
			}
		}
		time.Sleep(2 * time.Minute)
		mu.Lock()
		for i := range nodes {
			if len(got[i]) != types {
				t.Errorf("node %d got %d of %d messages", i, len(got[i]), types)
			}
			for _, p := range nodes[i].Service().Stats().Peers {
				if len(p.Send.Dropped) != 0 || p.StreamsRefused != 0 {
					t.Errorf("node %d: %+v, %d streams refused", i, p.Send, p.StreamsRefused)
				}
			}
		}
		mu.Unlock()

		// Types come and go: whoever is told of it is right about it.
		for round := range rounds {
			for typ := round; typ < types; typ += 20 {
				subs[1][typ].Close()
			}
			time.Sleep(3 * time.Second)
			for typ := round; typ < round+40; typ++ {
				ty := netservice.Declare(longName(typ), netservice.Raw(), whisper)
				err := ty.Send(t.Context(), nodes[2].Service(), nodes[1].ID(), fmt.Append(nil, "again", round))
				if gone := typ%20 == round; gone != errors.Is(err, netservice.ErrUnsupported) || !gone && err != nil {
					t.Errorf("round %d, type %d: %v", round, typ, err)
				}
			}
			for typ := round; typ < types; typ += 20 {
				subs[1][typ] = subscribe(1, typ)
			}
			time.Sleep(3 * time.Second)
			for typ := round; typ < round+40; typ++ {
				ty := netservice.Declare(longName(typ), netservice.Raw(), whisper)
				if err := ty.Send(t.Context(), nodes[2].Service(), nodes[1].ID(), fmt.Append(nil, "back", round)); err != nil {
					t.Errorf("round %d, type %d: %v", round, typ, err)
				}
			}
			time.Sleep(time.Second) // the next ones to go are heard to the end
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		again, back := 0, 0
		for m, n := range got[1] {
			if n != 1 {
				t.Errorf("%s came %d times", m[60:], n)
			}
			switch {
			case strings.Contains(m, "again"):
				again++
			case strings.Contains(m, "back"):
				back++
			}
		}
		if again != rounds*38 || back != rounds*40 {
			t.Errorf("%d and %d messages came while types came and went", again, back)
		}
		for i, n := range nodes {
			if p := len(n.Service().Peers()); p != 3 {
				t.Errorf("node %d has %d of 3 peers", i, p)
			}
		}
	})
}
