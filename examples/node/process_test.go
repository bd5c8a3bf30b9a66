package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// process is a node as a process of its own.
type process struct {
	running
	*testkit.Process
}

// startProcess runs the program as a process of its own, with JSON output. It
// is stopped at the end of the test.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := testkit.Self(t, []string{asProgram + "=1"}, append([]string{"-json", "-log-level", "error", "-listen", testkit.LoopbackTCP}, args...)...)
	cmd.Stderr = os.Stderr
	p := testkit.Start(t, cmd)
	p.LastWords = "quit"
	return &process{Process: p, running: running{t: t, in: p.Input(), out: p.Stdout, exit: p.Exit}}
}

// A node that is killed and started again with the same line is found again by
// the other one, which was not told that it would be, and talks on.
func TestKilledAndRestarted(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	args := []string{"-datadir", t.TempDir(), "-listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port), "-subscribe", "chat"}
	a := startProcess(t, args...)
	addr := ""
	for !strings.Contains(addr, fmt.Sprintf("/tcp/%d/", port)) {
		addr = a.await("listening")["addr"].(string)
	}
	b := startProcess(t, "-subscribe", "chat", "-bootstrap", addr)
	a.await("connected")
	id := b.await("connected")["peer"].(string)
	talk := func(round string) {
		t.Helper()
		for _, way := range []struct{ from, to *process }{{a, b}, {b, a}} {
			text := fmt.Sprintf("%s from %p", round, way.from)
			way.from.say("broadcast chat " + text)
			for way.to.await("message")["text"] != text {
				// A node that was restarted may be told once more what was said
				// just before.
			}
		}
	}
	talk("before")
	for round := range 2 {
		a.Signal(os.Kill)
		a.end(-1)
		b.await("disconnected")
		a = startProcess(t, args...)
		a.await("connected")
		if again := b.await("connected")["peer"]; again != id {
			t.Errorf("connected to %v, want %s", again, id)
		}
		talk(fmt.Sprint("after ", round))
	}
}

// A node of another chain is refused, and both say so.
func TestOtherChainIsRefused(t *testing.T) {
	t.Parallel()
	a := startProcess(t, "-chain-id", "one")
	b := startProcess(t, "-chain-id", "two", "-bootstrap", a.await("listening")["addr"].(string))
	for _, n := range []*process{a, b} {
		if e := n.await("refused"); e["reason"] != netservice.ReasonWrongChain.String() {
			t.Errorf("%v", e)
		}
	}
}

// Ten processes in a ring all see every broadcast once, and their own never.
func TestRingOfProcesses(t *testing.T) {
	t.Parallel()
	const nodes, each = 10, 5
	var ring []*process
	var addrs []string
	for i := range nodes {
		args := []string{"-subscribe", "chat"}
		if i > 0 {
			args = append(args, "-bootstrap", addrs[i-1])
		}
		if i == nodes-1 {
			args = append(args, "-bootstrap", addrs[0])
		}
		n := startProcess(t, args...)
		addrs = append(addrs, n.await("listening")["addr"].(string))
		ring = append(ring, n)
	}
	for _, n := range ring { // each has a neighbour on both sides
		n.await("connected")
		n.await("connected")
	}
	for k := range each {
		for i, n := range ring {
			n.say(fmt.Sprintf("broadcast chat %d of %d", k, i))
		}
	}
	seen := make([]map[string]int, nodes)
	for i, n := range ring {
		seen[i] = make(map[string]int)
		for range each * (nodes - 1) {
			seen[i][n.await("message")["text"].(string)]++
		}
	}
	for _, n := range ring {
		n.say("quit")
	}
	for i, n := range ring {
		for _, line := range n.out.Rest() { // what came too much
			switch e := n.event(line); e["event"] {
			case "message":
				seen[i][e["text"].(string)]++
			case "error":
				t.Errorf("node %d: %v", i, e)
			}
		}
		n.end(0)
		for k := range each {
			for j := range nodes {
				want := 1
				if j == i {
					want = 0
				}
				if text := fmt.Sprintf("%d of %d", k, j); seen[i][text] != want {
					t.Errorf("node %d saw %q %d times, want %d", i, text, seen[i][text], want)
				}
			}
		}
	}
}

// Nodes of different chains share an open topic, under names of their own, and
// nothing else.
func TestOpenTopicOfTwoChains(t *testing.T) {
	t.Parallel()
	a := startProcess(t, "-chain-id", "one", "-topic", "news=shared", "-open-topic", "news", "-subscribe", "news", "-subscribe", "chat")
	addr := a.await("listening")["addr"].(string)
	b := startProcess(t, "-chain-id", "two", "-topic", "talk=shared", "-open-topic", "talk", "-subscribe", "talk", "-subscribe", "chat", "-bootstrap", addr)
	b.await("listening")
	b.say("broadcast chat for chain two alone")
	b.await("broadcast")
	// There is no session to wait for. The first messages wait for a peer.
	a.say("broadcast news from one")
	if e := b.await("message"); e["type"] != "talk" || e["text"] != "from one" {
		t.Errorf("chain two got %v", e)
	}
	b.say("broadcast talk from two")
	if e := a.await("message"); e["type"] != "news" || e["text"] != "from two" {
		t.Errorf("chain one got %v", e)
	}
}
