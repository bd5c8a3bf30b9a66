package obs

import (
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestPanicked(t *testing.T) {
	out := new(sink)
	log := logrus.New()
	log.SetOutput(out)
	log.SetFormatter(new(logrus.JSONFormatter))
	o := New(log, nil)
	explode := func(value any) {
		defer func() {
			o.Panicked(Panic{
				Component: "gossip", In: "tx", Value: recover(), Count: o.Counter(GossipPanics),
				Fields: logrus.Fields{"peer": "p"},
			})
		}()
		if value != nil {
			panic(value)
		}
	}
	explode("\x1b[2J")
	explode("again")
	if n := o.Counter(GossipPanics).Count(); n != 2 {
		t.Errorf("%d counted", n)
	}
	lines := out.lines(t)
	if len(lines) != 1 {
		t.Fatalf("%d lines, want one in ten seconds", len(lines))
	}
	stack, _ := lines[0]["stack"].(string)
	if !strings.Contains(stack, "TestPanicked") {
		t.Errorf("the stack does not name the place: %s", stack)
	}
	delete(lines[0], "stack")
	for k, want := range map[string]string{
		"level": "warning", "component": "gossip", "in": "tx", "peer": "p",
		"panic": "?[2J", "msg": "code of the program panicked",
	} {
		if lines[0][k] != want {
			t.Errorf("%s is %q, want %q", k, lines[0][k], want)
		}
	}
	o.Panicked(Panic{Component: "links", In: "check", Stack: []byte("far away")})
	if l := out.lines(t); len(l) != 1 || l[0]["panic"] != "ended its goroutine" || l[0]["stack"] != "far away" {
		t.Errorf("%v", l)
	}
}
