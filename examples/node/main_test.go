package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram makes the test binary be the program, for tests with processes.
const asProgram = "NEBNET_NODE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// running is a node in this process, with its ends of the pipes.
type running struct {
	t      *testing.T
	in     io.WriteCloser
	events <-chan map[string]any
	code   <-chan int
	kill   func() error // of a process: SIGKILL
}

// runNode runs the program with JSON output.
func runNode(t *testing.T, args ...string) *running {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), append([]string{"-json", "-listen", "/ip4/127.0.0.1/tcp/0"}, args...), inR, outW, io.Discard)
		inR.Close()
		outW.Close()
	}()
	return &running{t: t, in: inW, events: readEvents(t, outR), code: code}
}

// readEvents parses what a node prints, until its output ends.
func readEvents(t *testing.T, out io.Reader) <-chan map[string]any {
	events := make(chan map[string]any, 1000)
	go func() {
		defer close(events)
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 8<<20)
		for sc.Scan() {
			var e map[string]any
			if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
				t.Errorf("not JSON: %q", sc.Text())
				continue
			}
			events <- e
		}
	}()
	return events
}

// await waits for an event of that name.
func (r *running) await(name string) map[string]any {
	r.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-r.events:
			if !ok {
				r.t.Fatalf("ended without %q", name)
			}
			if e["event"] == name {
				return e
			}
		case <-timeout:
			r.t.Fatalf("no %q within 20 s", name)
		}
	}
}

func (r *running) say(line string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, line+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) end(want int) {
	r.t.Helper()
	select {
	case code := <-r.code:
		if code != want {
			r.t.Errorf("exit status %d, want %d", code, want)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("did not end")
	}
}

func TestTwoNodesTalk(t *testing.T) {
	a := runNode(t, "-subscribe", "chat")
	addr := a.await("listening")["addr"].(string)
	b := runNode(t, "-subscribe", "chat", "-bootstrap", addr)
	id := b.await("connected")["peer"].(string)
	if !strings.HasSuffix(addr, id) {
		t.Errorf("connected to %s, not to %s", id, addr)
	}
	a.await("connected")

	b.say("send " + id[len(id)-6:] + " chat hello  there")
	b.await("sent")
	if e := a.await("message"); e["text"] != "hello  there" || e["type"] != "chat" {
		t.Errorf("got %v", e)
	}
	a.say("broadcast chat to all")
	if e := b.await("message"); e["text"] != "to all" {
		t.Errorf("got %v", e)
	}
	a.say("peers")
	if e := a.await("peer"); e["direction"] != "inbound" {
		t.Errorf("got %v", e)
	}
	a.say("stats")
	a.await("stats")
	a.say("help")
	if e := a.await("help"); e["commands"].(map[string]any)["send PEER TYPE [TEXT]"] == nil {
		t.Errorf("got %v", e)
	}
	// 0 ends no ID: it is no letter of base58.
	for _, wrong := range []string{"nonsense", "send", "send 0 chat y", "broadcast", "close nobody", "broadcast a/b c"} {
		a.say(wrong)
		a.await("error")
	}
	b.say("broadcast chat") // an empty text is one
	if e := a.await("message"); e["text"] != "" {
		t.Errorf("got %v", e)
	}
	b.say("close " + id)
	if e := a.await("disconnected"); e["reason"] != "closed on request" || e["by_peer"] != true {
		t.Errorf("got %v", e)
	}
	b.say("quit")
	b.end(0)
	a.in.Close() // the end of input is a way to quit
	a.end(0)
}

func TestWrongFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":   {"-nope"},
		"argument":       {"extra"},
		"log level":      {"-log-level", "loud"},
		"listen address": {"-listen", "somewhere"},
		"bootstrap":      {"-bootstrap", "/ip4/127.0.0.1/tcp/1"},
		"genesis":        {"-genesis", "xyz"},
		"no chain":       {"-chain-id", ""},
		"topic":          {"-topic", "chat"},
		"type":           {"-listen", "/ip4/127.0.0.1/tcp/0", "-subscribe", "a/b"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%s: exit status %d, says %q", name, code, stderr.String())
		}
	}
	var stderr bytes.Buffer
	if run(t.Context(), []string{"-log-level", "loud"}, strings.NewReader(""), io.Discard, &stderr); !strings.Contains(stderr.String(), `-log-level: not a valid logrus Level: "loud"`) {
		t.Errorf("says %q", stderr.String())
	}
	if code := run(t.Context(), []string{"-help"}, nil, io.Discard, io.Discard); code != 0 {
		t.Errorf("help: exit status %d", code)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	addr := "/ip4/127.0.0.1/tcp/" + port
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"-listen", addr}, strings.NewReader(""), io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), addr) {
		t.Errorf("exit status %d, says %q", code, stderr.String())
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", "/ip4/127.0.0.1/tcp/0"}, inR, outW, io.Discard)
		inR.Close()
	}()
	line, err := bufio.NewReader(outR).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "listening on /ip4/127.0.0.1/tcp/") {
		t.Fatalf("first line %q, %v", line, err)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit status %d", c)
	}
	inW.Close()
	outW.Close()
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{
		{" a  b  c d ", 3, "a|b|c d"},
		{"a", 2, "a"},
		{"", 1, ""},
		{"a b", 1, "a b"},
		{"a b", 0, "a|b"},
	} {
		if got := strings.Join(split(tc.in, tc.n), "|"); got != tc.want {
			t.Errorf("%q in %d: %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
}

// A key file that others may read is refused, unless the flag is given.
func TestInsecureKey(t *testing.T) {
	dir := t.TempDir()
	start := func(more ...string) int {
		args := append([]string{"-listen", "/ip4/127.0.0.1/tcp/0", "-datadir", dir}, more...)
		return run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard)
	}
	if code := start(); code != 0 {
		t.Fatalf("first start: exit status %d", code)
	}
	if err := os.Chmod(filepath.Join(dir, "node.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := start(); code != 1 {
		t.Errorf("without the flag: exit status %d", code)
	}
	if code := start("-insecure-key"); code != 0 {
		t.Errorf("with the flag: exit status %d", code)
	}
}

// A node that listens nowhere says who it is, and no address.
func TestListenNowhere(t *testing.T) {
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"-listen", "none"}, strings.NewReader(""), &stdout, io.Discard); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if text := stdout.String(); !strings.HasPrefix(text, "started as 12D3") || strings.Contains(text, "listening") {
		t.Errorf("says %q", text)
	}
}
