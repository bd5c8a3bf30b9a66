package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program as the README has it, but for the time.
func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-nodes", "6", "-for", "9s"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s\n%s", code, errs.String(), out.String())
	}
	for _, want := range []string{"follower 5 joins", "follower 4 goes away", "follower 4 comes back", "all 6 nodes are at block"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"-nodes", "3"}, {"-for", "-1s"}, {"-validator", "4"}, {"-no"}} {
		if code := run(t.Context(), args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
	if code := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); code != 0 {
		t.Error("-h: exit", code)
	}
}

// One node as a process makes blocks, and goes on with them after a restart.
func TestSingleNode(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		var out, errs bytes.Buffer
		if code := run(ctx, []string{"-node", "-validator", "0", "-data", dir}, &out, &errs); code != 0 || !strings.Contains(out.String(), "listening on /ip4/127.0.0.1/tcp/") {
			t.Errorf("exit %d: %s%s", code, errs.String(), out.String())
		}
		cancel()
	}
}

// world is a chain of nodes in virtual time.
type world struct {
	t     *testing.T
	net   *nettest.Network
	nodes []*node
	at    []*nettest.Node
	dirs  []string
}

func (w *world) add(boot *nettest.Node, change func(*netservice.Config)) int {
	w.t.Helper()
	i := len(w.nodes)
	w.dirs = append(w.dirs, w.t.TempDir())
	n := w.open(i)
	cfg := config("")
	if boot != nil {
		cfg.Bootstrap = []string{boot.Addr()}
	}
	if change != nil {
		change(&cfg)
	}
	w.nodes = append(w.nodes, n)
	// After a restart the service asks the node that runs then.
	opts := append(n.options(), netservice.WithPayload(func() []byte {
		data, _ := json.Marshal(w.nodes[i].status())
		return data
	}))
	w.at = append(w.at, w.net.Add(cfg, opts...))
	if err := n.attach(w.at[i].Service()); err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *world) open(i int) *node {
	w.t.Helper()
	s, err := openStore(w.dirs[i], false)
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := newNode(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) begin(i int) {
	validator := -1
	if i < len(validatorKeys) {
		validator = i
	}
	w.nodes[i].begin(validator)
}

// start starts all nodes.
func (w *world) start() {
	w.net.Start()
	for i := range w.nodes {
		w.begin(i)
	}
}

// crash takes a node's power; restart brings it back with what its disk has.
func (w *world) crash(i int) {
	w.at[i].Crash()
	w.nodes[i].end()
	w.nodes[i].chain.store.close()
}

func (w *world) restart(i int) {
	w.nodes[i] = w.open(i)
	w.at[i].Restart(func(s *netservice.NebService) {
		if err := w.nodes[i].attach(s); err != nil {
			w.t.Error(err)
		}
	})
	w.begin(i)
}

func (w *world) end() {
	for _, n := range w.nodes {
		n.end()
	}
	w.net.Stop()
	for _, n := range w.nodes {
		n.chain.store.close()
	}
}

// agree makes no more blocks, and waits for one head of all but some.
func (w *world) agree(within time.Duration, except ...int) header {
	w.t.Helper()
	for _, n := range w.nodes {
		n.pause()
	}
	var heads map[hash][]int
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(time.Second) {
		heads = map[hash][]int{}
		for i, n := range w.nodes {
			heads[n.chain.head().hash()] = append(heads[n.chain.head().hash()], i)
		}
		for _, i := range except {
			for h, who := range heads {
				if len(who) == 1 && who[0] == i {
					delete(heads, h)
				}
			}
		}
		if len(heads) == 1 {
			return w.nodes[0].chain.head()
		}
	}
	for h, who := range heads {
		w.t.Errorf("%v are at %s", who, h.short())
	}
	return w.nodes[0].chain.head()
}

func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // golang/go#78156
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: nettest.New(t, nettest.WithLink(nettest.Link{Latency: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.01}))}
		f(t, w)
		w.end()
	})
}

var full = flag.Bool("chain.full", false, "50 nodes for 10 minutes, in place of 8 for 2")

// Many nodes live through latency and loss, a partition whose sides both make
// blocks, crashes and restarts, and two liars; they end on one chain.
func TestChainInVirtualTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		nodes, length := 8, 2*time.Minute
		if *full {
			nodes, length = 50, 10*time.Minute
		}
		first := w.add(nil, nil)
		for len(w.nodes) < nodes {
			w.add(w.at[first], nil)
		}
		for _, liar := range []int{nodes - 1, nodes - 2} {
			w.lie(liar)
		}
		w.start()
		rng := rand.New(rand.NewPCG(1, 2))
		nonces := [8]uint64{}
		spend := func(d time.Duration) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				from, by := rng.IntN(len(accounts)), w.nodes[rng.IntN(nodes/2)]
				tx := transaction{To: addressOf(accounts[0]), Amount: 1, Nonce: nonces[from]}.signed(accounts[from])
				if newTx.Broadcast(t.Context(), by.svc, tx) == nil {
					by.pool.add(tx)
					nonces[from]++
				}
			}
		}
		part := length / 8
		spend(2 * part)
		// Validators 0 and 1 on one side, 2 and 3 on the other.
		var left, right []*nettest.Node
		for i, nd := range w.at {
			if i%4 < 2 {
				left = append(left, nd)
			} else {
				right = append(right, nd)
			}
		}
		w.net.Partition(left, right)
		spend(part)
		if a, b := w.nodes[0].chain.head(), w.nodes[2].chain.head(); a.hash() == b.hash() {
			t.Error("no fork came of the partition")
		}
		w.net.Heal()
		spend(part)
		down := []int{3, nodes / 2, nodes/2 + 1}
		for _, i := range down {
			w.crash(i)
		}
		time.Sleep(part) // those that are down spend nothing
		for _, i := range down {
			w.restart(i)
		}
		spend(2 * part)
		head := w.agree(2*time.Minute, nodes-1, nodes-2)
		if least := uint64(length / slotTime / 2); head.Height < least {
			t.Errorf("the chain has %d blocks, at least %d expected", head.Height, least)
		}
		_, s := w.nodes[1].chain.view()
		moved := uint64(0)
		for _, acc := range s {
			moved += acc.Nonce
		}
		if moved < uint64(length/time.Second/4) {
			t.Errorf("%d transactions were executed", moved)
		}
		switches := 0
		for _, n := range w.nodes {
			switches += n.chain.switches()
		}
		if switches == 0 {
			t.Error("nobody switched to a better branch")
		}
		t.Logf("%d nodes at block %d, %d transactions, %d switches of branch", nodes, head.Height, moved, switches)
	})
}

// lie has a node answer with blocks that are not what was asked for.
func (w *world) lie(i int) {
	w.nodes[i].bodies = func(ids []hash) iter.Seq2[*block, error] {
		return func(yield func(*block, error) bool) {
			for range ids {
				if !yield(&genesis, nil) {
					return
				}
			}
		}
	}
}

// A node that joins late, and one that was away for a thousand blocks, catch up and
// follow.
func TestCatchUp(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const blocks, before = 1020, 20
		for range validatorKeys {
			w.add(w.boot(), nil)
		}
		away := w.add(w.boot(), nil)
		parent, slot := genesis.header, slotAt(time.Now())-2*blocks
		for i := range blocks {
			b := propose(parent, slot+uint64(i), nil, validatorKeys[(slot+uint64(i))%4])
			for j, n := range w.nodes {
				if j == away && i >= before {
					continue
				}
				if _, err := n.chain.add(b); err != nil {
					t.Fatal(err)
				}
			}
			parent = b.header
		}
		late := w.add(w.boot(), nil)
		w.start()
		began := time.Now()
		for _, i := range []int{away, late} {
			for w.nodes[i].chain.head().Height < max(blocks, w.nodes[0].chain.head().Height-2) {
				if time.Sleep(time.Second); time.Since(began) > time.Minute {
					t.Fatalf("after %s: %d of %d blocks", time.Since(began), w.nodes[i].chain.head().Height, w.nodes[0].chain.head().Height)
				}
			}
		}
		t.Logf("%d blocks in %s", blocks, time.Since(began))
		time.Sleep(10 * slotTime) // they follow
		if head := w.agree(time.Minute); head.Height < blocks+8 {
			t.Errorf("block %d at the end", head.Height)
		}
	})
}

func (w *world) boot() *nettest.Node {
	if len(w.at) == 0 {
		return nil
	}
	return w.at[0]
}

// A node of another genesis never becomes a peer.
func TestWrongGenesis(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.add(nil, nil)
		other := w.add(w.at[0], func(c *netservice.Config) { c.Genesis = "00" })
		same := w.add(w.at[0], nil)
		w.start()
		time.Sleep(time.Minute)
		if n := len(w.at[other].Service().Peers()); n != 0 {
			t.Error("a node of another chain has", n, "peers")
		}
		if n := len(w.at[same].Service().Peers()); n != 1 {
			t.Error("a node of this chain has", n, "peers")
		}
	})
}

// Blocks that lie are rejected, and those without a parent wait for it.
func TestJudge(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.add(nil, nil)
		w.start()
		n := w.nodes[0]
		n.pause()
		slot := func(i uint64) uint64 { s := slotAt(time.Now()) - 40; return s - s%4 + i }
		one := propose(genesis.header, slot(0), nil, validatorKeys[0])
		two := propose(one.header, slot(1), nil, validatorKeys[1])
		tx := transaction{To: "x", Amount: 1}.signed(accounts[0])
		judge := func(b *block) string {
			return n.judge(t.Context(), netservice.Received[*block]{Value: b}).String()
		}
		if got, want := judge(two), netservice.Defer(string(one.hash())).String(); got != want {
			t.Errorf("without its parent: %s, want %s", got, want)
		}
		if got := judge(one); got != netservice.Accept().String() {
			t.Error("a good one:", got)
		}
		far := *one
		far.Height = 7
		far.sign(validatorKeys[0])
		reject := netservice.Reject().String()
		for what, b := range map[string]*block{
			"none":             nil,
			"another's turn":   propose(genesis.header, slot(1), nil, validatorKeys[0]),
			"of the future":    propose(genesis.header, slot(400), nil, validatorKeys[0]),
			"another content":  {header: one.header, Txs: []transaction{tx}},
			"a forged payment": propose(genesis.header, slot(0), []transaction{{From: tx.From, To: "y", Amount: 9}}, validatorKeys[0]),
			"another height":   &far,
			"signature":        {header: header{Height: 1, Slot: one.Slot, Parent: one.Parent, Content: one.Content, Proposer: one.Proposer}},
		} {
			if got := judge(b); got != reject {
				t.Errorf("%s: %s", what, got)
			}
		}
		// What cannot be executed is not taken.
		rich := transaction{To: "x", Amount: coins + 1}.signed(accounts[0])
		if n.take(propose(genesis.header, slot(0), []transaction{rich}, validatorKeys[0])) == nil {
			t.Error("more was spent than there is")
		}
		if n.take(one) != nil || n.take(two) != nil || n.chain.head().hash() != two.hash() {
			t.Error("good blocks are not taken")
		}
	})
}
