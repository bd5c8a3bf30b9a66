package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// startProcess runs the program as a process of its own, with JSON output. It
// is stopped at the end of the test.
func startProcess(t *testing.T, args ...string) *running {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, append([]string{"-json", "-log-level", "error", "-listen", "/ip4/127.0.0.1/tcp/0"}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The output is read to its end before Wait closes it.
	raw, events := readEvents(t, out), make(chan map[string]any, 1000)
	code := make(chan int, 1)
	go func() {
		for e := range raw {
			events <- e
		}
		_ = cmd.Wait() // the exit status says the same
		code <- cmd.ProcessState.ExitCode()
		close(events)
	}()
	t.Cleanup(func() {
		in.Close() // the end of input ends a node
		last := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer last.Stop()
		for range events { // until it has ended
		}
	})
	return &running{t: t, in: in, events: events, code: code, kill: cmd.Process.Kill}
}

// A node that is killed and started again with the same line is found again by
// the other one, which was not told that it would be, and talks on.
func TestKilledAndRestarted(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
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
		for _, way := range []struct{ from, to *running }{{a, b}, {b, a}} {
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
		if err := a.kill(); err != nil {
			t.Fatal(err)
		}
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
	for _, n := range []*running{a, b} {
		if e := n.await("refused"); e["reason"] != netservice.ReasonWrongChain.String() {
			t.Errorf("%v", e)
		}
	}
}

// Ten processes in a ring all see every broadcast once, and their own never.
func TestRingOfProcesses(t *testing.T) {
	t.Parallel()
	const nodes, each = 10, 5
	var ring []*running
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
		for e := range n.events { // what came too much
			switch e["event"] {
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
