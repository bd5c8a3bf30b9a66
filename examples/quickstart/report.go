package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// view is what the table showed last, to tell rates.
type view struct {
	at     time.Duration
	prices int64
}

// output is a writer for several goroutines. Each Write comes out in one piece.
type output struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// table writes one line a node, all at once.
func (net *network) table(out io.Writer, elapsed time.Duration) {
	w := new(bytes.Buffer)
	defer w.WriteTo(out)
	fmt.Fprintf(w, "\n%5.0fs  %-10s %5s %8s %8s %8s %8s %10s\n", elapsed.Seconds(), "node", "peers", "TCP/QUIC", "blocks", "prices", "price/s", "slowest")
	for i, n := range net.nodes {
		got := n.receivedPrices.Load()
		rate := float64(got-n.last.prices) / (elapsed - n.last.at).Seconds()
		n.last = view{elapsed, got}
		var rtt time.Duration
		peers, quic := n.svc.Peers(), 0
		for _, p := range peers {
			rtt = max(rtt, p.RTT)
			if strings.Contains(p.Addr.String(), "/quic") {
				quic++
			}
		}
		fmt.Fprintf(w, "     %d  %-10s %5d %8s %8d %8d %8.0f %10s\n", i+1, short(n.svc.Node().ID().String()),
			len(peers), fmt.Sprintf("%d/%d", len(peers)-quic, quic), n.receivedBlocks.Load(), got, rate, rtt.Round(10*time.Microsecond))
	}
}

// totals is what became of the messages of one type, at all nodes together.
type totals struct {
	broadcast int64 // by the nodes of this program
	arrived   int64 // new ones, passed to the dispatchers
	copies    int64 // arrived again, over another path
	unsent    int64 // found nobody, or a full queue
	delivered uint64
	dropped   uint64
	waiting   int
	handled   int64 // by the subscriptions of this program
}

func (net *network) totals(msgType string) (t totals) {
	for _, n := range net.nodes {
		st := n.svc.Stats()
		g := st.Gossip.Types[msgType]
		t.arrived += g.Delivered
		t.copies += g.Duplicates
		t.unsent += g.Unsent + g.Dropped
		d := st.Dispatcher.Types[msgType]
		t.delivered += d.Delivered
		t.dropped += d.DroppedTotal()
		t.waiting += d.Queued
		for _, s := range st.Dispatcher.Subscribers {
			if s.Type == msgType {
				t.waiting += s.Queued
			}
		}
	}
	switch msgType {
	case newBlock.Name():
		t.broadcast = net.sum(func(n *node) int64 { return n.sentBlocks.Load() })
		t.handled = net.sum(func(n *node) int64 { return n.receivedBlocks.Load() })
	case newPrice.Name():
		t.broadcast = net.sum(func(n *node) int64 { return n.sentPrices.Load() })
		t.handled = net.sum(func(n *node) int64 { return n.receivedPrices.Load() })
	}
	return t
}

func (net *network) sum(count func(*node) int64) (total int64) {
	for _, n := range net.nodes {
		total += count(n)
	}
	return total
}

// complete tells whether every node has every message of the others.
func (t totals) complete(nodes int) bool {
	return t.waiting == 0 && t.arrived == t.broadcast*int64(nodes-1)
}

// addsUp tells whether every message reached every other node exactly once,
// and what became of it there.
func (t totals) addsUp(nodes int) bool {
	return t.complete(nodes) && uint64(t.arrived) == t.delivered+t.dropped
}

// settle waits until what is on the way has arrived, a few seconds at most.
func (net *network) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	await(ctx, func() bool {
		n := len(net.nodes)
		return net.totals(newBlock.Name()).complete(n) && net.totals(newPrice.Name()).complete(n)
	})
}

// summary tells what became of every message, and whether the numbers add up.
func (net *network) summary(w io.Writer) bool {
	ok := true
	fmt.Fprintf(w, "\n%d nodes, %s\n", len(net.nodes), time.Since(net.began).Round(time.Second))
	fmt.Fprintf(w, "%-9s %9s %8s %8s %8s %8s %8s\n", "type", "broadcast", "arrived", "handled", "dropped", "copies", "unsent")
	for _, t := range []struct {
		name     string
		lossless bool
	}{{newBlock.Name(), true}, {newPrice.Name(), false}} {
		x := net.totals(t.name)
		result := "adds up"
		if !x.addsUp(len(net.nodes)) || t.lossless && x.handled != x.arrived {
			result, ok = "does not add up", false
		}
		fmt.Fprintf(w, "%-9s %9d %8d %8d %8d %8d %8d %s\n", t.name, x.broadcast, x.arrived, x.handled, x.dropped, x.copies, x.unsent, result)
	}
	if ok {
		fmt.Fprintf(w, "each of the %d nodes got every message of the %d others once; copies came over other paths\n", len(net.nodes), len(net.nodes)-1)
	}
	return ok
}
