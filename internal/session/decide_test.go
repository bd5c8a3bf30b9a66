package session

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// Sessions of one engine are pinged together, those that the node was dialled for; one
// that it opened itself has the time to spare that the other side needs to be first.
func TestPingsGoTogether(t *testing.T) {
	const s = time.Second
	first := make(map[time.Duration]int) // moments since the engine began
	for i := range 100 {
		since := time.Duration(i) * 37 * time.Millisecond
		in := newLiveness(3*s, 5*s, network.DirInbound, since)
		out := newLiveness(3*s, 5*s, network.DirOutbound, since)
		now, life := time.Duration(0), time.Duration(0)
		for range 10 {
			act, wait := in.step(now, life)
			if act == livePing {
				if silent := now - life; silent < 2*s || silent > 3*s {
					t.Errorf("session %d is pinged after %s", i, silent)
				}
				first[(since+now)%s]++
				life = now + 20*time.Millisecond
				if act, wait := out.step(life-10*time.Millisecond, life-10*time.Millisecond); act != liveWait || wait != 4*s {
					t.Errorf("session %d: the other side does %v, and looks again in %s", i, act, wait)
				}
			}
			now += wait
		}
	}
	if len(first) != 1 || first[0] == 0 {
		t.Errorf("pings at %v", first)
	}
}

func TestLiveness(t *testing.T) {
	const s = time.Second
	type step struct {
		now, life time.Duration
		act       liveAction
		next      time.Duration
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"traffic", []step{{3 * s, 2 * s, liveWait, 2 * s}, {5 * s, 5 * s, liveWait, 3 * s}, {8 * s, 7 * s, liveWait, 2 * s}}},
		{"answered", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 3*s + 1, liveWait, 1}, {6*s + 1, 3*s + 1, livePing, 3 * s}}},
		{"dead", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 0, liveWait, 2 * s}, {8 * s, 0, liveDead, 0}}},
		{"measured", []step{{29 * s, 28 * s, liveWait, 2 * s}, {31 * s, 30 * s, livePing, 3 * s}, {34 * s, 33 * s, liveWait, 2 * s}}},
		{"any byte will do", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 5 * s, liveWait, 2 * s}, {8 * s, 5 * s, livePing, 3 * s}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLiveness(3*s, 5*s, network.DirOutbound, 0)
			l.interval = 3 * s
			for i, st := range tt.steps {
				if act, next := l.step(st.now, st.life); act != st.act || next != st.next {
					t.Errorf("step %d: %v, %s; want %v, %s", i, act, next, st.act, st.next)
				}
			}
		})
	}
}
