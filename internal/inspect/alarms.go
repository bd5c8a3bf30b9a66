package inspect

import (
	"fmt"
	"slices"
)

// Alarm is something that an operator should look at.
type Alarm struct {
	Level string `json:"level"` // bad or warn
	Text  string `json:"text"`
	Page  string `json:"page"` // where more is seen
}

const (
	maxLossAlarms = 5
	// maxDelay is how late broadcasts may be, in seconds, before it is said.
	maxDelay = 10
	// badScore is well below what an honest peer has by chance.
	badScore = -10
)

// alarms says in words what is wrong. lately is the sample of a minute ago, nil
// when nobody looked then, and lost what has been lost since, the most first.
func alarms(s *Snapshot, lately *Sample, lost []loss) []Alarm {
	var out []Alarm
	add := func(level, page, format string, args ...any) {
		out = append(out, Alarm{Level: level, Page: page, Text: fmt.Sprintf(format, args...)})
	}
	if s.Node.State != "running" {
		add("bad", "overview", "The node is %s.", s.Node.State)
	}
	if len(s.Peers) == 0 {
		add("bad", "events", "There are no peers.")
	}
	var down []string
	for _, b := range s.Boot {
		if !b.Connected {
			down = append(down, short(b.ID))
		}
	}
	if len(down) > 0 {
		level := "warn"
		if len(down) == len(s.Boot) {
			level = "bad"
		}
		add(level, "events", "No session with %d of %d boot nodes: %v.", len(down), len(s.Boot), down)
	}
	if lately != nil {
		if n := grown(lately.Totals.Dropped, s.Totals.Dropped); n > 0 {
			add("warn", "flow", "%d messages were dropped in the last minute.", n)
		}
		if n := grown(lately.Totals.Panics, s.Totals.Panics); n > 0 {
			add("bad", "flow", "The program's own code panicked %d times in the last minute.", n)
		}
	}
	for _, l := range lost[:min(len(lost), maxLossAlarms)] {
		add("warn", "flow", "%s: %d in the last minute.", l.Name, l.Count)
	}
	for _, t := range s.Types {
		for _, sub := range t.Subscribers {
			if sub.Full {
				add("warn", "flow", "Subscriber %s of %s is full.", sub.Name, t.Name)
			}
		}
		if g := t.Gossip; g != nil && g.Delay != nil && g.Delay.Count > 0 {
			switch d := g.Delay.P50; {
			case d < 0:
				add("warn", "flow", "Broadcasts of %s arrive before they were published: a clock is off.", t.Name)
			case d > maxDelay:
				add("warn", "flow", "Half of the broadcasts of %s arrive more than %s after they were published: a clock is off, or the network is slow.", t.Name, secondsText(d))
			}
		}
	}
	for _, p := range s.Peers {
		if p.Faults > 0 || p.Score < badScore {
			add("warn", "peers", "Peer %s breaks the rules: %d faults, gossip score %.2f.", short(p.ID), p.Faults, p.Score)
		}
	}
	var differ []string
	for _, p := range s.Peers {
		for _, what := range p.Differs {
			if !slices.Contains(differ, what) {
				differ = append(differ, what)
			}
		}
	}
	for _, what := range differ {
		add("warn", "peers", "A peer declares a type differently: %s.", what)
	}
	for _, p := range s.Problems {
		add("warn", "overview", "%s", p)
	}
	return out
}

func grown(a, b uint64) uint64 {
	if b <= a {
		return 0
	}
	return b - a
}
