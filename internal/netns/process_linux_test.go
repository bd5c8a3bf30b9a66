package netns

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// process is a part that runs in a place. It ends when its input does.
type process struct {
	t *testing.T
	*testkit.Process
	killed bool
}

// kill ends it without a goodbye.
func (p *process) kill() {
	p.killed = true
	p.Signal(os.Kill)
}

// run starts a part. When the test ends, it is told to end and must exit with 0.
func (p *place) run(do part) *process {
	t := p.w.t
	t.Helper()
	text, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	self := testkit.Self(t, []string{partEnv + "=" + string(text)})
	cmd := exec.Command("ip", "netns", "exec", p.name, self.Path)
	cmd.Env, cmd.Stderr = self.Env, os.Stderr
	pr := &process{t: t, Process: testkit.Start(t, cmd)}
	t.Cleanup(func() {
		pr.CloseInput()
		if code := pr.Exit(); code != 0 && !pr.killed {
			t.Errorf("%s: exit %d", do.Do, code)
		}
	})
	return pr
}

// hear waits for a line that begins with a word, and returns the rest.
func (p *process) hear(word string, within time.Duration) string {
	p.t.Helper()
	var heard []string
	for until := time.Now().Add(within); ; {
		line, ok := p.Stdout.Next(time.Until(until))
		if rest, is := strings.CutPrefix(line, word+" "); is {
			return rest
		}
		if !ok {
			p.t.Fatalf("no %q within %s, but %q", word, within, heard)
		}
		heard = append(heard, line)
	}
}

// report is what a node tells of its connections.
type report struct {
	Most    int               // at once
	Now     int               // at present
	Refused int64             // by addresses, limits and connection gater
	Peers   map[string]string // transports of the sessions
	Heard   int               // notes
	Told    int               // notes to one peer
	// Goroutines are those of the process.
	Goroutines int
	Reach      netservice.ReachabilityStats
}

func (p *process) report() (r report) {
	p.t.Helper()
	p.Say("report")
	if err := json.Unmarshal([]byte(p.hear("report", 10*time.Second)), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// until waits for what a node tells of itself.
func (p *process) until(what string, within time.Duration, ok func(report) bool) {
	p.t.Helper()
	if r, came := p.comes(what, within, ok); !came {
		p.t.Fatalf("not %s within %s: %+v", what, within, r)
	}
}

// comes is until for what need not come. It returns the last report as well.
func (p *process) comes(what string, within time.Duration, ok func(report) bool) (report, bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		r := p.report()
		if ok(r) {
			p.t.Logf("%s after %s", what, time.Since(begin).Round(time.Millisecond))
			return r, true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, false
		}
	}
}
