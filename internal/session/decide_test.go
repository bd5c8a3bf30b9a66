package session

import (
	"testing"
	"time"
)

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
			l := newLiveness(3*s, 5*s)
			for i, st := range tt.steps {
				if act, next := l.step(st.now, st.life); act != st.act || next != st.next {
					t.Errorf("step %d: %v, %s; want %v, %s", i, act, next, st.act, st.next)
				}
			}
		})
	}
}
