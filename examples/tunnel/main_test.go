package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/goleak"

	ma "github.com/multiformats/go-multiaddr"
)

// asProgram makes this test binary the program, for tests with processes.
const asProgram = "NEBNET_TUNNEL_AS_PROGRAM"

const somePeer = "12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // exits
	}
	goleak.VerifyTestMain(m)
}

// start runs the program and returns the first line it prints. end makes it
// end, as SIGTERM does, and returns its exit code.
func start(t *testing.T, args ...string) (line string, end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var (
		stderr bytes.Buffer
		code   int
		wg     sync.WaitGroup
	)
	wg.Go(func() {
		code = run(ctx, args, in, &stderr)
		_ = in.Close()
	})
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	wg.Go(func() { _, _ = io.Copy(io.Discard, r) })
	if err != nil {
		cancel()
		wg.Wait()
		t.Fatalf("tunnel %v: %v\n%s", args, err, &stderr)
	}
	return strings.TrimSpace(line), func() int { cancel(); wg.Wait(); return code }
}

func TestListenAndDial(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer web.Close()
	peer, endListen := start(t, "listen", "-proto", "/x/web", "-target", web.Listener.Addr().String(),
		"-listen", "/ip4/127.0.0.1/tcp/0", "-key", t.TempDir()+"/key", "-quiet")
	local, endDial := start(t, "dial", "-proto", "/x/web", "-peer", peer, "-bind", "127.0.0.1:0", "-status", "1h", "-quiet")

	at, err := manet.ToNetAddr(ma.StringCast(local))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get("http://" + at.String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil || string(body) != "hello" {
		t.Errorf("got %q, %v", body, err)
	}
	if code := endDial(); code != 0 {
		t.Errorf("dial: exit %d", code)
	}
	if c, err := net.Dial("tcp", at.String()); err == nil {
		_ = c.Close()
		t.Error("still listening after the end")
	}
	if code := endListen(); code != 0 {
		t.Errorf("listen: exit %d", code)
	}
}

func TestWrongFlags(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // flags taken for right end the program, too
	for _, args := range [][]string{
		{"serve"},
		{"listen"},
		{"listen", "-proto", "/x/web"},
		{"listen", "-proto", "web", "-target", "127.0.0.1:80"},
		{"listen", "-proto", "/x/web", "-target", "nowhere"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-admit", "me"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-admit", " ,"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-admit", ""},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-admit", somePeer + ","},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-report", "no"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-max", "-1"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-listen", "here"},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-listen", ""},
		{"listen", "-proto", "/x/web", "-target", "127.0.0.1:80", "-listen", " ,"},
		{"listen", "-bogus"},
		{"dial", "-proto", "/x/web"},
		{"dial", "-proto", "/x/web", "-peer", "me"},
		{"dial", "-proto", "/x/web", "-peer", "/p2p/" + somePeer},
		{"dial", "-proto", "/x/web", "-peer", "me", "more"},
	} {
		var stderr bytes.Buffer
		if code := run(ctx, args, io.Discard, &stderr); code != exitUsage {
			t.Errorf("tunnel %v: exit %d", args, code)
		}
		if s := stderr.String(); strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "-h\n") {
			t.Errorf("tunnel %v: not one line that tells how to get help: %q", args, s)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), nil, &stdout, &stderr); code != exitUsage || !strings.HasPrefix(stderr.String(), "usage:") {
		t.Errorf("without a command: exit %d, %q", code, &stderr)
	}
	for _, args := range [][]string{{"-h"}, {"dial", "-h"}, {"listen", "-h"}} {
		stdout.Reset()
		stderr.Reset()
		if code := run(t.Context(), args, &stdout, &stderr); code != 0 || stdout.Len() == 0 || stderr.Len() != 0 {
			t.Errorf("tunnel %v: exit %d, %q, %q", args, code, &stdout, &stderr)
		}
	}
}

// What is wrong with an address names the flag that it was given to.
func TestWrongAddressNamesItsFlag(t *testing.T) {
	for _, bad := range []string{"nowhere", "/ip4/127.0.0.1/udp/80", "/ip4/127.0.0.1/tcp/80/ws", ""} {
		for flag, args := range map[string][]string{
			"-target": {"listen", "-proto", "/x/web", "-target", bad},
			"-bind":   {"dial", "-proto", "/x/web", "-peer", "/ip4/127.0.0.1/tcp/1/p2p/" + somePeer, "-bind", bad},
		} {
			var stderr bytes.Buffer
			if code := run(t.Context(), args, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), ": "+flag) {
				t.Errorf("%s %q: exit %d, %q", flag, bad, code, &stderr)
			}
		}
	}
}

func TestNegativeNumberNamesItsFlag(t *testing.T) {
	for _, tc := range [][3]string{
		{"listen", "-status", "-1s"}, {"listen", "-idle", "-1s"}, {"listen", "-max", "-1"},
	} {
		var stderr bytes.Buffer
		args := []string{tc[0], "-proto", "/x/web", tc[1], tc[2]}
		if tc[0] == "listen" {
			args = append(args, "-target", ":80")
		} else {
			args = append(args, "-peer", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGRUJ8FvYDUKcRUFQgkgYbtAPbv7CEgqLYR4QNSkZ6yEb")
		}
		if code := run(t.Context(), args, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), ": "+tc[1]+" is negative") {
			t.Errorf("%s: exit %d, %q", tc[1], code, &stderr)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:80":         "/ip4/127.0.0.1/tcp/80",
		"[::1]:80":             "/ip6/::1/tcp/80",
		"localhost:80":         "/dns/localhost/tcp/80",
		":80":                  "/ip4/127.0.0.1/tcp/80",
		"unix:/run/x.sock":     "/unix/run/x.sock",
		"/ip4/10.0.0.1/tcp/80": "/ip4/10.0.0.1/tcp/80",
		"unix:x":               "",
		"80":                   "",
		":":                    "",
		"127.0.0.1:http":       "",
	} {
		got, err := parseAddress(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}
