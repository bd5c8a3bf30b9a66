package testkit

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Self is a command that runs this test binary again, with more variables in its
// environment ("NAME=value"): TestMain sees one and is another program.
func Self(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	// The race detector would make each process linger for a second.
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

// Process is a program that runs beside a test.
type Process struct {
	Name   string // for failures
	Stdout *Lines
	Stderr *Lines // nil where the command has a place for it

	// How it is ended at the end of the test, if it still runs then. Without both
	// the end of its input has to do.
	LastWords string // a line said first
	Killed    bool

	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	exited chan struct{} // closed when it has ended and all its output is read
}

// Start runs a command. It is ended at the end of the test, where its input is
// closed too. What has not ended within Deadline is killed and fails the test.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Name: strings.Join(cmd.Args, " "), t: t, cmd: cmd, exited: make(chan struct{})}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
	}
	var readers sync.WaitGroup
	read := func(pipe func() (io.ReadCloser, error)) *Lines {
		t.Helper()
		r, err := pipe()
		check(err)
		l := newLines()
		readers.Go(func() { l.read(r) })
		return l
	}
	var err error
	p.in, err = cmd.StdinPipe()
	check(err)
	p.Stdout = read(cmd.StdoutPipe)
	if cmd.Stderr == nil {
		p.Stderr = read(cmd.StderrPipe)
	}
	check(cmd.Start())
	go func() {
		defer close(p.exited)
		readers.Wait() // Wait closes the pipes: what is read later is lost
		_ = cmd.Wait() // the exit status says the same
	}()
	t.Cleanup(p.close)
	return p
}

// close has the process end.
func (p *Process) close() {
	if p.LastWords != "" {
		_, _ = io.WriteString(p.in, p.LastWords+"\n") // it may have ended
	}
	_ = p.in.Close()
	if p.Killed {
		_ = p.cmd.Process.Kill() // does nothing when it has ended
	}
	last := time.NewTimer(Deadline)
	defer last.Stop()
	select {
	case <-p.exited:
		return
	case <-last.C:
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.t.Errorf("%s did not end within %s", p.Name, Deadline)
}

// Say writes a line to its standard input.
func (p *Process) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
}

// Input is its standard input.
func (p *Process) Input() io.Writer { return p.in }

// CloseInput is the end of its standard input.
func (p *Process) CloseInput() { _ = p.in.Close() }

// Signal sends a signal; os.Kill works everywhere.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
}

// Line waits for a line of its standard output that contains all of the words.
// Those before it are passed over.
func (p *Process) Line(words ...string) string {
	p.t.Helper()
	return p.Stdout.Find(p.t, p.Name, words...)
}

// Exit waits for its end and returns the exit status, -1 after a signal.
func (p *Process) Exit() int {
	p.t.Helper()
	Receive(p.t, p.exited, fmt.Sprintf("the end of %s", p.Name))
	return p.cmd.ProcessState.ExitCode()
}
