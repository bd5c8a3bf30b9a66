package netservice_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
	"github.com/go-nebnet/nebnet/netservice"
)

// largeOf is what a node knows of the large broadcasts of the tests' type.
func (n *largeNet) largeOf(i int) (all netservice.LargeTypeStats, each []netservice.LargeMessage) {
	st := n.nodes[i].Service().Stats().Large
	return st.Types[largeType.Name()], st.Messages
}

// arrived is when a node's subscriber was given a block.
func (n *largeNet) arrived(i int, number byte) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at[i][number]
}

// TestLargeTook: a message has begun when its announcement came, one way of the link after
// it was published, and took until its last chunk was there, which the subscriber is given
// it with.
func TestLargeTook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 2, 2, 1, signed(t))
		n.ready()
		link := largeLink(1, n.nodes[0].IP(), n.nodes[1].IP())
		const slack = 10 * time.Millisecond // of an announcement on the line, and of a hand-over
		var sum time.Duration
		for k := range byte(3) {
			published := time.Now()
			n.publish(0, k+1, 1<<20)
			n.wait(k+1, time.Minute, 0)
			all, each := n.largeOf(1)
			if len(each) != int(k)+1 {
				t.Fatalf("%d messages", len(each))
			}
			m := each[k]
			if after := m.Began.Sub(published); after < link || after > link+slack {
				t.Errorf("message %d began %s after it was published, over a link of %s", k, after, link)
			}
			if late := n.arrived(1, k+1).Sub(m.Began.Add(m.Took)); late < 0 || late > slack {
				t.Errorf("message %d took %s, and the subscriber was given it %s later", k, m.Took, late)
			}
			if least := time.Duration(float64(m.Size) * 8 / 50e6 * .9e9); m.Took < least {
				t.Errorf("message %d took %s, which the line cannot, in less than %s", k, m.Took, least)
			}
			if sum += m.Took; all.TimeToWhole != sum {
				t.Errorf("all took %s, and one by one %s", all.TimeToWhole, sum)
			}
		}
		for _, m := range n.messages(0) {
			if m.Took != 0 {
				t.Errorf("an own message took %s", m.Took)
			}
		}
		n.nw.Stop()
	})
}

func (n *largeNet) messages(i int) []netservice.LargeMessage {
	_, each := n.largeOf(i)
	return each
}

// TestLargeTalliesAddUp: what all nodes have handed out, all nodes have received; the
// tallies of the messages are together those of the type; and of each message that came
// each chunk came once, duplicates apart.
func TestLargeTalliesAddUp(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 10, 6, 1, signed(t))
		n.ready()
		const messages = 3
		for k := range messages {
			n.publish(k, byte(k+1), 1<<20)
		}
		for k := range messages {
			n.wait(byte(k+1), time.Minute, k)
		}
		time.Sleep(5 * time.Second) // copies that are on their way come
		var sum netservice.LargeTypeStats
		for i := range n.nodes {
			all, each := n.largeOf(i)
			if len(each) != messages {
				t.Fatalf("node %d knows of %d messages", i, len(each))
			}
			chunks := int64(0)
			var tally netservice.LargeTally
			for _, m := range each {
				if m.From != "" {
					chunks += int64(wire.Chunks(m.Size))
				}
				tally.Duplicates += m.Tally.Duplicates
				tally.PromisesKept += m.Tally.PromisesKept
				tally.PromisesBroken += m.Tally.PromisesBroken
				tally.Served += m.Tally.Served
			}
			if all.Chunks != chunks {
				t.Errorf("node %d: %d chunks came of messages of %d", i, all.Chunks, chunks)
			}
			if got := (netservice.LargeTally{Duplicates: int(all.Duplicates), PromisesKept: int(all.PromisesKept), PromisesBroken: int(all.PromisesBroken), Served: int(all.Served)}); got != tally {
				t.Errorf("node %d: the type has %+v, its messages %+v", i, got, tally)
			}
			if all.PromisesKept > all.Chunks {
				t.Errorf("node %d: %d promises kept in %d chunks", i, all.PromisesKept, all.Chunks)
			}
			sum.Chunks += all.Chunks
			sum.Duplicates += all.Duplicates
			sum.Junk += all.Junk
			sum.Served += all.Served
			sum.PromisesKept += all.PromisesKept
			sum.BytesIn += all.BytesIn
			sum.BytesOut += all.BytesOut
		}
		if came := sum.Chunks + sum.Duplicates + sum.Junk; came != sum.Served {
			t.Errorf("%d chunks were handed out, %d came (%+v)", sum.Served, came, sum)
		}
		if sum.BytesIn != sum.BytesOut || sum.BytesIn < messages*int64(len(n.nodes)-1)<<20 {
			t.Errorf("%d bytes went out, %d came", sum.BytesOut, sum.BytesIn)
		}
		if sum.PromisesKept == 0 {
			t.Error("no promise was kept")
		}
		n.nw.Stop()
	})
}

// TestLargeTally counts a message of which each chunk's fate is known: ten are promised,
// five of them come, the first one twice, the others never; one is there and comes; and
// some are served.
func TestLargeTally(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, 2, 2, 1, signed(t))
		n.ready()
		data := block(1, 1<<20)
		m := n.manifest(1, data)
		chunk := func(c int) *wire.Frame {
			from, to := m.Span(c)
			return &wire.Frame{Kind: wire.Chunk, Number: 1, Index: c, Data: data[from:to]}
		}
		wanted := make(chan int, 100)
		r := n.rogue(1, func(_ *rogue, _ peer.ID, f wire.Frame) {
			if f.Kind == wire.Want {
				for c := range f.Chunks.All() {
					wanted <- c
				}
			}
		})
		to := n.nodes[0].ID()
		ask := func(k int) {
			t.Helper()
			for range k {
				select {
				case <-wanted:
				case <-time.After(10 * time.Second):
					t.Fatal("a chunk is not asked for")
				}
			}
		}
		was := func(what string, want netservice.LargeTally) {
			t.Helper()
			largeWait(t, what, 10*time.Second, func() bool {
				each := n.messages(0)
				return len(each) == 1 && each[0].Tally == want
			})
		}
		r.say(to, &wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m},
			&wire.Frame{Kind: wire.Have, Number: 1, Soon: wire.SetOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)})
		ask(10)
		for _, c := range []int{0, 1, 2, 3, 4, 0} {
			r.say(to, chunk(c))
		}
		was("five promises kept, one of them twice", netservice.LargeTally{PromisesKept: 5, Duplicates: 1})
		was("five promises broken", netservice.LargeTally{PromisesKept: 5, Duplicates: 1, PromisesBroken: 5})
		r.say(to, &wire.Frame{Kind: wire.Have, Number: 1, Have: wire.SetOf(10)})
		ask(1)
		r.say(to, chunk(10))
		for range 4 { // each twice at most
			r.say(to, &wire.Frame{Kind: wire.Want, Number: 1, Chunks: wire.SetOf(0, 10, 20)})
			time.Sleep(time.Second)
		}
		last := netservice.LargeTally{PromisesKept: 5, Duplicates: 1, PromisesBroken: 5, Served: 4}
		was("four served", last)
		all, each := n.largeOf(0)
		if each[0].Took != 0 || each[0].Here != 6*16<<10 {
			t.Errorf("%+v", each[0])
		}
		if all.Chunks != 6 || all.Duplicates != 1 || all.PromisesKept != 5 || all.PromisesBroken != 5 || all.Served != 4 ||
			all.BytesIn != 7*16<<10 || all.BytesOut != 4*16<<10 || all.Junk != 0 || all.Lies != 0 {
			t.Errorf("%+v", all)
		}
		n.nw.Stop()
	})
}
