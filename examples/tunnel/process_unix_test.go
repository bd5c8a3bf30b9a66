//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const deadline = 30 * time.Second // of anything that should take no time

// process is the program as a process of its own.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr chan string // lines, closed at the end
	exited         chan struct{}
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{
		t: t, cmd: exec.Command(os.Args[0], args...),
		stdout: make(chan string, 1000), stderr: make(chan string, 1000), exited: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	var readers sync.WaitGroup
	for _, o := range []struct {
		pipe  func() (io.ReadCloser, error)
		lines chan string
	}{{p.cmd.StdoutPipe, p.stdout}, {p.cmd.StderrPipe, p.stderr}} {
		r, err := o.pipe()
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			defer close(o.lines)
			for s := bufio.NewScanner(r); s.Scan(); {
				o.lines <- s.Text()
			}
		})
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		readers.Wait()
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // does nothing when it has ended
		<-p.exited
	})
	return p
}

// line waits for a line that contains all of the words.
func (p *process) line(from chan string, words ...string) string {
	p.t.Helper()
	timeout := time.After(deadline)
next:
	for {
		select {
		case s, ok := <-from:
			if !ok {
				p.t.Fatalf("tunnel %v ended without a line with %q", p.cmd.Args[1:], words)
			}
			for _, w := range words {
				if !strings.Contains(s, w) {
					continue next
				}
			}
			return s
		case <-timeout:
			p.t.Fatalf("tunnel %v: no line with %q", p.cmd.Args[1:], words)
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the status.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(deadline):
		p.t.Fatalf("tunnel %v does not end", p.cmd.Args[1:])
	}
	return p.cmd.ProcessState.ExitCode()
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

func startListen(t *testing.T) (p *process, peer string) {
	t.Helper()
	p = startProcess(t, "listen", "-proto", "/x/web", "-target", echo(t), "-listen", "/ip4/127.0.0.1/tcp/0", "-quiet")
	return p, p.line(p.stdout, "/ip4/127.0.0.1/tcp/", "/p2p/")
}

func TestProcesses(t *testing.T) {
	listening, peer := startListen(t)
	dialling := startProcess(t, "dial", "-proto", "/x/web", "-peer", peer, "-bind", "127.0.0.1:0", "-quiet")
	at, err := manet.ToNetAddr(ma.StringCast(dialling.line(dialling.stdout, "/ip4/127.0.0.1/tcp/")))
	if err != nil {
		t.Fatal(err)
	}

	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("what came back is not what was sent: %v", err)
	}

	// The table, while the connection is open.
	for p, kind := range map[*process]string{listening: "remote", dialling: "local"} {
		for range 2 { // not once only
			p.signal(syscall.SIGUSR1)
			p.line(p.stderr, "LISTENER", "KIND", "RUNNING")
			row := strings.Fields(p.line(p.stderr, "/x/web"))
			total := "1"
			if p == listening {
				total = "2" // one was the check
			}
			if len(row) != 10 || row[1] != kind || row[5] != "1" || row[6] != total || row[7] != "0" {
				t.Errorf("row of the listener: %q", row)
			}
			p.line(p.stderr, "STREAM", "STATE", "AGE")
			p.line(p.stderr, "/x/web", " open ")
		}
	}

	for _, p := range []*process{dialling, listening} {
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Errorf("tunnel %v: exit %d", p.cmd.Args[1:], code)
		}
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
			code := p.exit()
			var lines []string
			for s := range p.stderr {
				lines = append(lines, s)
			}
			if code != tc.code || len(lines) != 1 || !strings.Contains(lines[0], tc.says) {
				t.Errorf("exit %d, %q", code, lines)
			}
			for s := range p.stdout {
				t.Errorf("printed %q", s)
			}
		})
	}
}
