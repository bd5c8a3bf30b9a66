package router

import (
	"slices"
	"testing"
	"time"
)

// From DontWantAbove on the mesh is told not to send what has come, before it is judged,
// and not its sender; of an own message before that is sent.
func TestDontWantAbove(t *testing.T) {
	const above = 100
	for _, tc := range []struct {
		size int
		own  bool
		want int // of three mesh peers
	}{{above - 1, false, 0}, {above, false, 2}, {above - 1, true, 0}, {above, true, 3}} {
		g := newRig(t, func(c *Config) { c.Mesh.DontWantAbove = above })
		g.topic(testTopic("t"))
		for i := range 3 {
			g.member(name(i), true, "t")
		}
		g.pass(time.Second)
		if m := g.counts("t").Mesh; len(m) != 3 {
			t.Fatalf("mesh %v", m)
		}
		g.drain()
		if tc.own {
			g.publish("t", "m", tc.size)
		} else {
			g.say(name(0), "t", "m", tc.size)
		}
		es := g.drain()
		told := 0
		for i := range 3 {
			if ids := said(es, name(i)).DontWant; len(ids) > 0 {
				told++
				if !tc.own && i == 0 || len(ids) != 1 || string(ids[0]) != "m" {
					t.Errorf("%+v: peer %d is told %q", tc, i, ids)
				}
			}
		}
		if told != tc.want {
			t.Errorf("%+v: %d are told", tc, told)
		}
		first := slices.IndexFunc(es, func(e Effect) bool { return e.Kind == Send })
		last := slices.IndexFunc(es, func(e Effect) bool { return e.Kind == Say && len(e.Control.DontWant) > 0 })
		if tc.own && (first < 0 || tc.want > 0 && last > first) {
			t.Errorf("%+v: sent at %d, refused at %d", tc, first, last)
		}
	}
}
