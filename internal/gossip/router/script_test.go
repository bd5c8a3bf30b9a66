package router

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

var update = flag.Bool("update", false, "write what the scripts say now into testdata/scripts")

// TestScripts plays testdata/scripts. A line that begins with ">" is a command;
// what follows it is what the router then does. After a change that is meant,
// run it with -update and read the difference.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(b))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(b) {
				t.Errorf("it does now:\n%s", got)
			}
		})
	}
}

func runScript(t *testing.T, script string) string {
	g := newRig(t, nil)
	judging := make(map[string]*Message)
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		command, ok := strings.CutPrefix(line, "> ")
		if !ok {
			if strings.HasPrefix(line, "#") || line == "" {
				fmt.Fprintln(&out, line)
			}
			continue
		}
		fmt.Fprintln(&out, line)
		for c := range strings.SplitSeq(command, ";") {
			playCommand(t, g, judging, strings.Fields(c), &out)
		}
		for _, e := range g.drain() {
			if e.Kind == Validate || e.Kind == ValidateNow {
				judging[e.Msg.ID] = e.Msg
			}
			fmt.Fprintln(&out, "  "+describe(e))
		}
	}
	return out.String()
}

func playCommand(t *testing.T, g *rig, judging map[string]*Message, f []string, out *strings.Builder) {
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	p := peer.ID(arg(1))
	number := func(i int) int {
		n, _ := strconv.Atoi(arg(i))
		return n
	}
	switch f[0] {
	case "topic":
		spec := testTopic(arg(1))
		spec.Inline, spec.Open = arg(2) != "slow", arg(2) == "open"
		g.topic(spec)
	case "leave":
		g.step(Event{Kind: Leave, Topic: arg(1)})
	case "member":
		g.member(p, arg(2) == "dialled", "t")
	case "foreigner":
		g.step(Event{Kind: Opened, Peer: p, Level: Refuse})
		g.step(Event{Kind: Heard, Peer: p})
		g.subscribe(p, "t")
	case "gone":
		g.step(Event{Kind: Closed, Peer: p})
		g.step(Event{Kind: Silent, Peer: p})
	case "graft":
		g.graft(p, "t")
	case "prune":
		g.prune(p, "t", uint64(number(2)))
	case "have":
		g.have(p, "t", f[2:]...)
	case "want":
		g.want(p, f[2:]...)
	case "send":
		g.say(p, "t", arg(2), max(number(3), 1))
	case "publish":
		g.publish("t", arg(1), max(number(2), 1))
	case "resume":
		g.step(Event{Kind: Resume, Key: arg(1)})
	case "pass":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			t.Fatal(err)
		}
		g.pass(d)
	case "scores":
		g.r.Peers(func(v PeerView) bool {
			fmt.Fprintf(out, "  %s has %.2f, in the mesh of %v\n", string(v.ID), v.Score, v.Mesh)
			return true
		})
	case "accept", "reject", "ignore", "defer", "turnaway", "badsigned":
		actions := map[string]Action{"accept": Accept, "reject": Reject, "ignore": Ignore, "defer": Defer, "turnaway": TurnAway, "badsigned": BadSigned}
		m := judging[arg(1)]
		if m == nil {
			t.Fatalf("%s is not judged", arg(1))
		}
		g.judge(m, Verdict{Action: actions[f[0]], Key: arg(2), Reason: arg(2)})
	default:
		t.Fatalf("unknown command %q", f)
	}
}

func describe(e Effect) string {
	switch e.Kind {
	case Send:
		return fmt.Sprintf("send %s to %s", e.Msg.ID, string(e.Peer))
	case Cancel:
		return fmt.Sprintf("cancel %s to %s", e.Msg.ID, string(e.Peer))
	case Validate, ValidateNow:
		return fmt.Sprintf("judge %s of %s", e.Msg.ID, string(e.Peer))
	case Refused:
		return fmt.Sprintf("refused %s: %s", e.Msg.ID, e.Reason)
	case Queued:
		return fmt.Sprintf("queued %s", e.Msg.ID)
	case Faulted:
		return fmt.Sprintf("fault of %s: %s", string(e.Peer), e.Reason)
	case Say:
		var parts []string
		c := e.Control
		for _, s := range c.Subs {
			parts = append(parts, fmt.Sprintf("subscribe %s %v", s.Topic, s.Subscribe))
		}
		for _, t := range c.Graft {
			parts = append(parts, "graft "+t)
		}
		for _, p := range c.Prune {
			parts = append(parts, fmt.Sprintf("prune %s for %d s", p.Topic, p.Backoff))
		}
		for _, h := range c.Have {
			parts = append(parts, fmt.Sprintf("have %s %v", h.Topic, h.IDs))
		}
		if len(c.Want) > 0 {
			parts = append(parts, fmt.Sprintf("want %v", c.Want))
		}
		if len(c.DontWant) > 0 {
			parts = append(parts, fmt.Sprintf("want no %v", c.DontWant))
		}
		return fmt.Sprintf("say to %s: %s", string(e.Peer), strings.Join(parts, ", "))
	}
	return fmt.Sprintf("%+v", e)
}
