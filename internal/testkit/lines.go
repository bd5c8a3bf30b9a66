package testkit

import (
	"bufio"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxLine bounds a line that a program prints.
const maxLine = 8 << 20

// Lines is what a program prints. It is read to its end whether somebody looks or
// not, so that no program waits for a test.
type Lines struct {
	mu    sync.Mutex // guards what follows
	lines []string
	ended bool
	more  chan struct{} // closed and replaced when something changes
}

// ReadLines reads lines until r ends, in a goroutine that ends then.
func ReadLines(r io.Reader) *Lines {
	l := newLines()
	go l.read(r)
	return l
}

func newLines() *Lines { return &Lines{more: make(chan struct{})} }

func (l *Lines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		l.put(s.Text(), false)
	}
	_, _ = io.Copy(io.Discard, r) // after a line that is too long
	l.put("", true)
}

func (l *Lines) put(line string, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end {
		l.ended = true
	} else {
		l.lines = append(l.lines, line)
	}
	close(l.more)
	l.more = make(chan struct{})
}

// Next waits for the next line. It is false at the end of the output, and when
// the time is over.
func (l *Lines) Next(within time.Duration) (line string, ok bool) {
	last := time.NewTimer(within)
	defer last.Stop()
	for {
		l.mu.Lock()
		if len(l.lines) > 0 {
			line, l.lines = l.lines[0], l.lines[1:]
			l.mu.Unlock()
			return line, true
		}
		ended, more := l.ended, l.more
		l.mu.Unlock()
		if ended {
			return "", false
		}
		select {
		case <-more:
		case <-last.C:
			return "", false
		}
	}
}

// Rest waits for the end of the output, and returns what Next has not. It is for
// programs that have ended.
func (l *Lines) Rest() (lines []string) {
	for line, ok := l.Next(Deadline); ok; line, ok = l.Next(Deadline) {
		lines = append(lines, line)
	}
	return lines
}

// Find waits for a line that contains all of the words, and ends the test if there
// is none within Deadline.
func (l *Lines) Find(t testing.TB, name string, words ...string) string {
	t.Helper()
	var passed []string
next:
	for until := time.Now().Add(Deadline); ; {
		line, ok := l.Next(time.Until(until))
		if !ok {
			t.Fatalf("%s: no line with %q, but %q", name, words, passed)
		}
		for _, w := range words {
			if !strings.Contains(line, w) {
				passed = append(passed, line)
				continue next
			}
		}
		return line
	}
}
