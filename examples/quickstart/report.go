package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	fmt.Fprintf(w, "\n%5.0fs  %-10s %5s %8s %8s %8s %10s\n", elapsed.Seconds(), "node", "peers", "blocks", "prices", "price/s", "slowest")
	for i, n := range net.nodes {
		got := n.receivedPrices.Load()
		rate := float64(got-n.last.prices) / (elapsed - n.last.at).Seconds()
		n.last = view{elapsed, got}
		var rtt time.Duration
		peers := n.svc.Peers()
		for _, p := range peers {
			rtt = max(rtt, p.RTT)
		}
		fmt.Fprintf(w, "     %d  %-10s %5d %8d %8d %8.0f %10s\n", i+1, short(n.svc.Node().ID().String()),
			len(peers), n.receivedBlocks.Load(), got, rate, rtt.Round(10*time.Microsecond))
	}
}

// totals is what became of the messages of one type, at all nodes together.
type totals struct {
	broadcast                            int64
	queued, written, lost, pending       uint64 // at the senders, a copy for each peer
	arrived                              uint64 // at the receivers
	delivered, duplicate, dropped, other uint64 // in their dispatchers
	waiting                              uint64
	handled                              int64 // by the subscriptions of this program
}

func (net *network) totals(msgType string) (t totals) {
	for _, n := range net.nodes {
		st := n.svc.Stats()
		for _, p := range st.Peers {
			s := p.Types[msgType].Send
			t.queued += s.Queued
			t.written += s.Written
			t.pending += uint64(s.Pending)
			for _, lost := range s.Dropped {
				t.lost += lost
			}
			t.arrived += p.Types[msgType].Receive.Messages
		}
		d := st.Dispatcher.Types[msgType]
		t.delivered += d.Delivered
		t.duplicate += d.Duplicate
		t.dropped += d.DroppedTotal()
		t.other += d.Unrouted
		t.waiting += uint64(d.Queued)
		for _, s := range st.Dispatcher.Subscribers {
			if s.Type == msgType {
				t.waiting += uint64(s.Queued)
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

// settled tells whether nothing is on the way any more.
func (t totals) settled() bool { return t.pending == 0 && t.waiting == 0 && t.written == t.arrived }

// addsUp tells whether every copy is accounted for.
func (t totals) addsUp() bool {
	return t.queued == t.written+t.lost+t.pending &&
		t.written == t.arrived &&
		t.arrived == t.delivered+t.duplicate+t.dropped+t.other
}

// settle waits until what is on the way has arrived, a few seconds at most.
func (net *network) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	each(ctx, 20*time.Millisecond, func(int) {
		if net.totals(newBlock.Name()).settled() && net.totals(newPrice.Name()).settled() {
			cancel()
		}
	})
}

// summary tells what became of every message, and whether the numbers add up.
func (net *network) summary(w io.Writer) bool {
	ok := true
	fmt.Fprintf(w, "\n%d nodes, %s\n", len(net.nodes), time.Since(net.began).Round(time.Second))
	fmt.Fprintf(w, "%-9s %9s %8s %8s %8s %9s %9s %8s %8s\n", "type", "broadcast", "copies", "arrived", "handled", "duplicate", "dropped", "unsent", "")
	for _, t := range []struct {
		name     string
		lossless bool
	}{{newBlock.Name(), true}, {newPrice.Name(), false}} {
		x := net.totals(t.name)
		verdict := "adds up"
		if !x.addsUp() || t.lossless && x.handled != int64(x.arrived-x.duplicate) {
			verdict, ok = "does not add up", false
		}
		fmt.Fprintf(w, "%-9s %9d %8d %8d %8d %9d %9d %8d %s\n", t.name, x.broadcast, x.queued, x.arrived, x.handled, x.duplicate, x.dropped, x.lost, verdict)
	}
	return ok
}
