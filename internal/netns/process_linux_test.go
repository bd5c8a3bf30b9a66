package netns

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// process is a part that runs in a place. It ends when its input does.
type process struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string // closed at the end of the output
}

// run starts a part. When the test ends, it is told to end and must exit with 0.
func (p *place) run(do part) *process {
	t := p.w.t
	t.Helper()
	text, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", p.name, os.Args[0])
	cmd.Env = append(os.Environ(), partEnv+"="+string(text))
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
	pr := &process{t: t, in: in, lines: make(chan string, 10_000)}
	go func() {
		defer close(pr.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			pr.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		for range pr.lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", do.Do, err)
		}
	})
	return pr
}

// tell gives the process a command.
func (p *process) tell(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// hear waits for a line that begins with a word, and returns the rest.
func (p *process) hear(word string, within time.Duration) string {
	p.t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	var heard []string
	for {
		select {
		case line, ok := <-p.lines:
			if rest, is := strings.CutPrefix(line, word+" "); is {
				return rest
			}
			if !ok {
				p.t.Fatalf("no %q, but the end after %q", word, heard)
			}
			heard = append(heard, line)
		case <-timeout.C:
			p.t.Fatalf("no %q within %s, but %q", word, within, heard)
		}
	}
}

// report is what a node tells of its connections.
type report struct {
	Most    int   // at once
	Now     int   // at present
	Refused int64 // by addresses, limits and gate
	Peers   int   // with a session
}

func (p *process) report() (r report) {
	p.t.Helper()
	p.tell("report")
	if err := json.Unmarshal([]byte(p.hear("report", 10*time.Second)), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}
