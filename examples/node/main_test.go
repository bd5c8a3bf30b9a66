package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// asProgram makes the test binary be the program, for tests with processes.
const asProgram = "NEBNET_NODE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// running is a node, in this process or one of its own.
type running struct {
	t    *testing.T
	in   io.Writer
	out  *testkit.Lines
	exit func() int // waits for the end
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
	return &running{t: t, in: inW, out: testkit.ReadLines(outR),
		exit: func() int { return testkit.Receive(t, code, "the end of a node") }}
}

// event is a line that a node prints.
func (r *running) event(line string) (e map[string]any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		r.t.Fatalf("not JSON: %q", line)
	}
	return e
}

// await waits for an event of that name.
func (r *running) await(name string) map[string]any {
	r.t.Helper()
	return r.event(r.out.Find(r.t, "node", fmt.Sprintf(`"event":%q`, name)))
}

func (r *running) say(line string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, line+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) end(want int) {
	r.t.Helper()
	if code := r.exit(); code != want {
		r.t.Errorf("exit status %d, want %d", code, want)
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
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789"), 60_000), 0o600); err != nil {
		t.Fatal(err)
	}
	b.say("broadcast-file chat " + file)
	if e := b.await("broadcast"); e["bytes"] != 600_000.0 {
		t.Errorf("got %v", e)
	}
	if e := a.await("message"); len(e["text"].(string)) != 600_000 {
		t.Errorf("got %d bytes", len(e["text"].(string)))
	}
	for _, wrong := range []string{file + ".not", t.TempDir(), os.DevNull} { // a device could go on for ever, or say nothing
		b.say("broadcast-file chat " + wrong)
		b.await("error")
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
	a.say("quit")
	a.end(0)
}

// A burst is shown in full, each message once, also where the reader of the output
// is slower than the network.
func TestBurstIsShown(t *testing.T) {
	const burst = 5000
	a := runNode(t, "-subscribe", "chat")
	b := runNode(t, "-bootstrap", a.await("listening")["addr"].(string))
	a.await("connected")
	b.await("connected")
	b.say("broadcast chat first") // it waits until gossip knows the peer, as few others may
	a.await("message")
	go func() {
		for i := range burst {
			_, _ = io.WriteString(b.in, fmt.Sprintf("broadcast chat %d\n", i))
		}
	}()
	taken, seen := 0, make(map[string]bool)
	for range burst { // what is not taken is said to the one who sends
		line, ok := b.out.Next(testkit.Deadline)
		if !ok {
			t.Fatal("the sender is stuck")
		}
		if b.event(line)["event"] == "broadcast" {
			taken++
		}
	}
	for len(seen) < taken {
		switch e := a.event(a.out.Find(t, "node")); e["event"] {
		case "message":
			text := e["text"].(string)
			if seen[text] {
				t.Errorf("%s twice", text)
			}
			seen[text] = true
		case "lost":
			t.Fatalf("%v, after %d of %d", e, len(seen), taken)
		}
	}
	for _, n := range []*running{a, b} {
		n.say("quit")
		n.end(0)
	}
}

// The end of input is no reason to end: a service has none.
func TestNoInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := runNode(t)
	addr := b.await("listening")["addr"].(string)
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-listen", testkit.LoopbackTCP, "-bootstrap", addr}, strings.NewReader(""), io.Discard, io.Discard)
	}()
	b.await("connected")
	cancel()
	if c := testkit.Receive(t, code, "the end after an interrupt"); c != 0 {
		t.Errorf("exit status %d", c)
	}
	b.say("quit")
	b.end(0)
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

// A large message does not fill the terminal.
func TestLargeMessageIsCut(t *testing.T) {
	var out strings.Builder
	(&printer{w: &out}).message(dispatcher.NewMessage("chat", "self", make([]byte, 2*maxShown)))
	if text := out.String(); len(text) > 5*maxShown || !strings.Contains(text, "(2048 bytes)") {
		t.Errorf("%d characters: %.80s", len(text), text)
	}
}

// A key file that others may read is refused, unless the flag is given.
func TestInsecureKey(t *testing.T) {
	dir := t.TempDir()
	start := func(more ...string) int {
		args := append([]string{"-listen", "/ip4/127.0.0.1/tcp/0", "-datadir", dir}, more...)
		return run(t.Context(), args, strings.NewReader("quit"), io.Discard, io.Discard)
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
	if code := run(t.Context(), []string{"-listen", "none"}, strings.NewReader("quit"), &stdout, io.Discard); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if text := stdout.String(); !strings.HasPrefix(text, "started as 12D3") || strings.Contains(text, "listening") {
		t.Errorf("says %q", text)
	}
}

func TestPageAndMetrics(t *testing.T) {
	a := runNode(t, "-http", "127.0.0.1:0", "-subscribe", "chat")
	url := a.await("page")["url"].(string)
	a.await("listening")
	for path, want := range map[string]string{"": "There are no peers.", "flow": "chat", "metrics": "nebnet_peers{direction=\"inbound\"} 0"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("/%s: %v, no %q", path, err, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()

	var errs bytes.Buffer
	taken := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	if code := run(t.Context(), []string{"-http", taken, "-listen", "none"}, strings.NewReader(""), io.Discard, &errs); code != 1 || !strings.Contains(errs.String(), taken) {
		t.Errorf("port in use: exit status %d, says %q", code, errs.String())
	}
	a.say("quit")
	a.end(0)
}
