package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
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

// add adds a node. A liar answers with blocks that are not what was asked for.
func (w *world) add(boot *nettest.Node, liar bool, change func(*netservice.Config)) int {
	w.t.Helper()
	i := len(w.nodes)
	w.dirs = append(w.dirs, w.t.TempDir())
	n := open(w.t, w.dirs[i])
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
	attach := n.attach
	if liar {
		attach = n.attachLiar
	}
	if err := attach(w.at[i].Service()); err != nil {
		w.t.Fatal(err)
	}
	return i
}

func open(t *testing.T, dir string) *node {
	t.Helper()
	n, err := newNode(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attachLiar is attach, but for the blocks that it answers.
func (n *node) attachLiar(svc *netservice.NebService) error {
	n.svc = svc
	_, blocks := newBlock.Subscribe(svc, func(_ context.Context, m netservice.Received[*block]) { n.take(m.Value) })
	_, headers := getHeaders.Serve(svc, n.headers)
	_, bodies := getBlocks.Serve(svc, func(_ context.Context, _ peer.ID, ids []hash) iter.Seq2[*block, error] {
		return func(yield func(*block, error) bool) {
			for range ids {
				if !yield(&genesis, nil) {
					return
				}
			}
		}
	})
	return errors.Join(blocks, headers, bodies, svc.Register(n.pool))
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
	w.nodes[i] = open(w.t, w.dirs[i])
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
// blocks, crashes and restarts, and two liars; they end on one chain. All 50 nodes:
//
//	go test -count=1 -v -run TestChainInVirtualTime -timeout 30m ./examples/blockchain -chain.full
func TestChainInVirtualTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		nodes, length := 8, 2*time.Minute
		if *full {
			nodes, length = 50, 10*time.Minute
		}
		for i := range nodes {
			w.add(w.boot(), i >= nodes-2, nil)
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

// A block of more than 256 KiB goes ahead with its proposer's header, and is passed on
// while it comes.
func TestLargeBlock(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range len(validatorKeys) + 1 {
			w.add(w.boot(), false, nil)
		}
		const txs = 1200
		for i := range txs {
			from := accounts[i%len(accounts)]
			tx := transaction{To: addressOf(accounts[0]), Amount: 1, Nonce: uint64(i / len(accounts))}.signed(from)
			for _, n := range w.nodes[:len(validatorKeys)] {
				n.pool.add(tx)
			}
		}
		w.start()
		follower := w.nodes[len(validatorKeys)]
		moved, cut := 0, false
		for deadline := time.Now().Add(time.Minute); moved < txs || !cut; time.Sleep(100 * time.Millisecond) {
			_, s := follower.chain.view()
			moved = 0
			for _, acc := range s {
				moved += int(acc.Nonce)
			}
			for _, m := range follower.svc.Stats().Large.Messages {
				cut = cut || m.From != "" && m.Cut && m.Type == newBlock.Name()
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d transactions of %d are at the follower, in a block with a header: %t", moved, txs, cut)
			}
		}
		w.agree(time.Minute)
	})
}

// A node that joins late, and one that was away for a thousand blocks, catch up and
// follow.
func TestCatchUp(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const blocks, before = 1020, 20
		for range validatorKeys {
			w.add(w.boot(), false, nil)
		}
		away := w.add(w.boot(), false, nil)
		parent, slot := genesis.header, slotAt(time.Now())-2*blocks
		for i := range blocks {
			b := propose(parent, slot+uint64(i), nil, validatorKeys[(slot+uint64(i))%4])
			for j, n := range w.nodes {
				if j == away && i >= before {
					continue
				}
				if _, err := n.chain.add(b, true); err != nil {
					t.Fatal(err)
				}
			}
			parent = b.header
		}
		late := w.add(w.boot(), false, nil)
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
		w.add(nil, false, nil)
		other := w.add(w.at[0], false, func(c *netservice.Config) { c.Genesis = "00" })
		same := w.add(w.at[0], false, nil)
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
		w.add(nil, false, nil)
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
		far.Sig = ed25519.Sign(validatorKeys[0], []byte(far.unsigned()))
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

// Peers know at any time what a node has: its payload is renewed with its head.
func TestPayloadIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.add(w.boot(), false, nil)
		w.add(w.boot(), false, nil)
		w.start()
		time.Sleep(time.Minute)
		head := w.agree(time.Minute)
		time.Sleep(10 * time.Second) // they are told at most every five
		var s status
		for _, p := range w.nodes[1].svc.Peers() {
			if err := json.Unmarshal(p.Payload, &s); err != nil {
				t.Error(err)
			}
		}
		if s.Head != head.hash() || s.Height < 10 {
			t.Errorf("a peer is said to have block %d %s, and has %d %s", s.Height, s.Head, head.Height, head.hash())
		}
	})
}

// A branch that turned out bad does not keep a node from starting again.
func TestBadBranchOnDisk(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	slot := slotAt(time.Now()) - 40
	holding := func(parent header, amount uint64) *block {
		tx := transaction{To: "x", Amount: amount}.signed(accounts[0])
		s := max(slot, parent.Slot+1)
		return propose(parent, s, []transaction{tx}, validatorKeys[s%4])
	}
	one := holding(genesis.header, 1)
	two := propose(one.header, one.Slot+1, nil, validatorKeys[(one.Slot+1)%4])
	three := propose(two.header, two.Slot+1, nil, validatorKeys[(two.Slot+1)%4])
	bad := holding(genesis.header, coins+1)
	for i := uint64(2); bad.hash() > one.hash(); i++ { // it is read first
		bad = holding(genesis.header, coins+i)
	}
	child := holding(bad.header, 1)
	for _, b := range []*block{one, two, three, bad, child} {
		if _, err := n.chain.add(b, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.chain.store.close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	if n.chain.head().hash() != three.hash() {
		t.Error("at block", n.chain.head().Height)
	}
	if err := n.chain.store.close(); err != nil {
		t.Fatal(err)
	}
}

// The page of a node is there while the program runs, and an address that is taken
// ends it before it begins.
func TestPages(t *testing.T) {
	p := new(pages)
	var out bytes.Buffer
	stop, err := p.serve("127.0.0.1:0", &out)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	url := strings.TrimSpace(strings.TrimPrefix(out.String(), "pages at "))
	taken := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"-http", taken}, io.Discard, &errs); code != 1 || !strings.Contains(errs.String(), "-http: listen tcp") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	n, err := startNode(t.TempDir(), 0, config("/ip4/127.0.0.1/tcp/0"), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.show(0, n)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string, status int) string {
		t.Helper()
		res, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Errorf("%s: %s, %v", path, res.Status, err)
		}
		return string(body)
	}
	id := n.svc.Node().ID().String()
	for _, path := range []string{"", "0/", "0/api/overview"} {
		if !strings.Contains(get(path, http.StatusOK), id) {
			t.Errorf("/%s does not show the node", path)
		}
	}
	get("1/", http.StatusNotFound)
	if err := n.close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(get("0/", http.StatusOK), "The node is stopped.") {
		t.Error("the page does not tell that the node has stopped")
	}
}
