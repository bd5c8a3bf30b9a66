//go:build unix

package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// startProcess runs the program as a process of its own.
func startProcess(t *testing.T, args ...string) *testkit.Process {
	t.Helper()
	p := testkit.Start(t, testkit.Self(t, []string{asProgram + "=1"}, args...))
	p.Killed = true
	return p
}

// end ends the program as a service manager does.
func end(t *testing.T, p *testkit.Process) {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(); code != 0 {
		t.Errorf("%s: exit %d", p.Name, code)
	}
}

// echo is a TCP service that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func startListen(t *testing.T) (p *testkit.Process, peer string) {
	t.Helper()
	p = startProcess(t, "listen", "-proto", "/x/web", "-target", echo(t), "-listen", "/ip4/127.0.0.1/tcp/0", "-quiet")
	return p, p.Line("/ip4/127.0.0.1/tcp/", "/p2p/")
}

func TestProcesses(t *testing.T) {
	listening, peer := startListen(t)
	dialling := startProcess(t, "dial", "-proto", "/x/web", "-peer", peer, "-bind", "127.0.0.1:0", "-quiet")
	at, err := manet.ToNetAddr(ma.StringCast(dialling.Line("/ip4/127.0.0.1/tcp/")))
	if err != nil {
		t.Fatal(err)
	}

	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Deadline))
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("what came back is not what was sent: %v", err)
	}

	// The table, while the connection is open.
	for p, kind := range map[*testkit.Process]string{listening: "remote", dialling: "local"} {
		for range 2 { // not once only
			p.Signal(syscall.SIGUSR1)
			p.Stderr.Find(t, p.Name, "LISTENER", "KIND", "RUNNING")
			row := strings.Fields(p.Stderr.Find(t, p.Name, "/x/web"))
			total := "1"
			if p == listening {
				total = "2" // one was the check
			}
			if len(row) != 10 || row[1] != kind || row[5] != "1" || row[6] != total || row[7] != "0" {
				t.Errorf("row of the listener: %q", row)
			}
			p.Stderr.Find(t, p.Name, "STREAM", "STATE", "AGE")
			p.Stderr.Find(t, p.Name, "/x/web", " open ")
		}
	}

	for _, p := range []*testkit.Process{dialling, listening} {
		end(t, p)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// What cannot be started says why in one line.
func TestProcessesThatFail(t *testing.T) {
	_, peer := startListen(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := taken.Addr().String()
	_, port, _ := net.SplitHostPort(used)
	listening, id, _ := strings.Cut(peer, "/p2p/")
	for _, tc := range []struct {
		name string
		code int
		says string
		args []string
	}{
		{"wrong flag", exitUsage, "-bogus", []string{"dial", "-bogus"}},
		{"missing flag", exitUsage, "-proto is required", []string{"listen", "-target", used}},
		{"wrong protocol", exitUsage, "/x/", []string{"listen", "-proto", "web", "-target", used}},
		{"local port in use", exitFailure, "address already in use", []string{"dial", "-proto", "/x/web", "-peer", peer, "-bind", used}},
		{"own port in use", exitFailure, "address already in use", []string{"listen", "-proto", "/x/web", "-target", used, "-listen", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/tcp/" + port}},
		{"port of another tunnel", exitFailure, "address already in use", []string{"listen", "-proto", "/x/web", "-target", used, "-listen", listening}},
		{"not served", exitFailure, "does not serve", []string{"dial", "-proto", "/x/other", "-peer", peer}},
		{"nobody there", exitFailure, "unreachable", []string{"dial", "-proto", "/x/web", "-peer", "/ip4/127.0.0.1/tcp/1/p2p/" + id}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startProcess(t, tc.args...)
			code, lines := p.Exit(), p.Stderr.Rest()
			if code != tc.code || len(lines) != 1 || !strings.Contains(lines[0], tc.says) {
				t.Errorf("exit %d, %q", code, lines)
			}
			if printed := p.Stdout.Rest(); len(printed) > 0 {
				t.Errorf("printed %q", printed)
			}
		})
	}
}
