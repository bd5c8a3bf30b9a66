package obs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// sink is a logger whose lines can be read while others write them.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

// lines returns and forgets what was written.
func (s *sink) lines(t testing.TB) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for l := range strings.Lines(s.buf.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		delete(m, "time")
		out = append(out, m)
	}
	s.buf.Reset()
	return out
}

func logged() (*Obs, *sink) {
	s := &sink{}
	log := logrus.New()
	log.SetOutput(s)
	log.SetFormatter(&logrus.JSONFormatter{})
	return New(log, nil), s
}

func TestWarnLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, s := logged()
		warn := func(key string) { o.WarnLimited("session", key, logrus.Fields{"peer": "p"}, "msg "+key) }
		for range 5 {
			warn("a")
		}
		warn("b") // a key of its own
		o.WarnLimited("peers", "a", nil, "same key, other component")
		got := s.lines(t)
		if len(got) != 3 || got[0]["msg"] != "msg a" || got[0]["component"] != "session" || got[0]["level"] != "warning" || got[0]["peer"] != "p" {
			t.Fatalf("lines %v", got)
		}
		if _, ok := got[0]["suppressed"]; ok {
			t.Errorf("first line tells of held-back ones: %v", got[0])
		}

		time.Sleep(warnEvery - time.Nanosecond)
		warn("a")
		if got := s.lines(t); len(got) != 0 {
			t.Fatalf("too early: %v", got)
		}
		time.Sleep(time.Nanosecond)
		warn("a")
		if got := s.lines(t); len(got) != 1 || got[0]["suppressed"] != 5.0 {
			t.Fatalf("lines %v, want one with 5 suppressed", got)
		}
		time.Sleep(warnEvery)
		warn("a")
		if got := s.lines(t); len(got) != 1 || got[0]["suppressed"] != nil {
			t.Fatalf("the count was not taken back: %v", got)
		}
	})
}

// However many keys peers can cause, memory and lines are bounded, and known
// keys go on being told.
func TestLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		allowed := 0
		for i := range 10_000 {
			if ok, _ := l.allow(fmt.Sprint("key", i), time.Now()); ok {
				allowed++
			}
		}
		if allowed != warnMaxKeys+1 || len(l.last) != warnMaxKeys+1 {
			t.Fatalf("%d lines, %d keys, want %d", allowed, len(l.last), warnMaxKeys+1)
		}
		time.Sleep(warnEvery)
		if ok, _ := l.allow("new", time.Now()); !ok || len(l.last) != 1 {
			t.Fatalf("old keys were not forgotten: %d", len(l.last))
		}
	})
}

func TestWarnLimitedConcurrently(t *testing.T) {
	o, s := logged()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				o.WarnLimited("c", "k", nil, "m")
			}
		})
	}
	wg.Wait()
	if got := s.lines(t); len(got) != 1 {
		t.Errorf("%d lines", len(got))
	}
}
