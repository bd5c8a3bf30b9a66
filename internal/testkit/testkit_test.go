package testkit

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

const childEnv = "NEBNET_TESTKIT_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(child(part))
	}
	goleak.VerifyTestMain(m)
}

// child prints much before it looks at its input, then repeats that.
func child(part string) int {
	for i := range 20_000 {
		fmt.Println("line", i)
	}
	fmt.Fprintln(os.Stderr, "part", part)
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		fmt.Println("heard", s.Text())
	}
	return 7
}

func TestProcess(t *testing.T) {
	p := Start(t, Self(t, []string{childEnv + "=echo"}))
	p.Stderr.Find(t, p.Name, "part", "echo") // it does not wait for its output to be read
	if line, ok := p.Stdout.Next(Deadline); !ok || line != "line 0" {
		t.Errorf("the first line is %q", line)
	}
	p.Say("one two")
	if line := p.Line("two", "one"); line != "heard one two" {
		t.Errorf("got %q", line)
	}
	p.CloseInput()
	if code := p.Exit(); code != 7 {
		t.Errorf("exit status %d", code)
	}
	if line, ok := p.Stdout.Next(Deadline); ok {
		t.Errorf("%q after the end", line)
	}
}

func TestProcessIsKilled(t *testing.T) {
	p := Start(t, Self(t, []string{childEnv + "=echo"}))
	p.Line("line 0")
	p.Signal(os.Kill)
	if code := p.Exit(); code != -1 && runtime.GOOS != "windows" {
		t.Errorf("exit status %d", code)
	}
}

// failing is a test that notes how it ends.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fails runs do as a test and returns what it failed with.
func fails(t *testing.T, do func(t testing.TB)) string {
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() { defer close(done); do(f) }()
	<-done
	return f.text
}

// Waiting ends with the state, or with the deadline and what was waited for.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		time.AfterFunc(Deadline-time.Second, func() { n.Store(3) })
		if got := fails(t, func(t testing.TB) { Equal(t, "three", 3, n.Load) }); got != "" {
			t.Error(got)
		}
		begun := time.Now()
		got := fails(t, func(t testing.TB) { Equal(t, "four", 4, n.Load) })
		if !strings.Contains(got, "four") || !strings.Contains(got, "it is 3, want 4") {
			t.Errorf("failed with %q", got)
		}
		if took := time.Since(begun); took != Deadline {
			t.Errorf("it took %s", took)
		}
		ch := make(chan int, 1)
		ch <- 5
		if got := Receive(t, ch, "five"); got != 5 {
			t.Errorf("received %d", got)
		}
		if got := fails(t, func(t testing.TB) { Receive(t, ch, "six") }); !strings.Contains(got, "six") {
			t.Errorf("failed with %q", got)
		}
	})
}

func TestGoroutines(t *testing.T) {
	base := runtime.NumGoroutine()
	release := make(chan struct{})
	for range 10 {
		go func() { <-release }()
	}
	close(release)
	Goroutines(t, base)
}

func TestHosts(t *testing.T) {
	a, b := Host(t), Host(t)
	Connect(t, a, b)
	Equal(t, "connections of the dialled host", 1, func() int { return len(b.Network().ConnsToPeer(a.ID())) })
	if !strings.HasSuffix(FullAddr(t, b), "/p2p/"+b.ID().String()) {
		t.Errorf("full address %s", FullAddr(t, b))
	}
}

func TestFreePort(t *testing.T) {
	if port := FreePort(t); port < firstPort || port >= lastPort || !portIsFree(port) {
		t.Errorf("port %d", port)
	}
}

func TestLongLine(t *testing.T) {
	l := newLines()
	l.read(io.MultiReader(strings.NewReader("short\n"), strings.NewReader(strings.Repeat("x", maxLine+1)), strings.NewReader("\nlost\n")))
	if line, ok := l.Next(Deadline); !ok || line != "short" {
		t.Errorf("got %q", line)
	}
	if line, ok := l.Next(Deadline); ok {
		t.Errorf("got %d bytes", len(line))
	}
}
