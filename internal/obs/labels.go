package obs

import (
	"context"
	"runtime/pprof"
)

// Labels mark goroutines in profiles, so that a profile of a whole node says
// which part of it costs what. Make them once for what they stand for (a type, a
// peer) and apply them at the beginning of each goroutine: making them takes
// memory, applying them nothing. The zero value marks nothing.
type Labels struct{ ctx context.Context }

// NewLabels makes labels: the engine that a goroutine belongs to, such as
// "session", and further names and values in pairs ("type", "peer", "method").
func NewLabels(engine string, pairs ...string) Labels {
	return Labels{pprof.WithLabels(context.Background(), pprof.Labels(append([]string{"engine", engine}, pairs...)...))}
}

// Apply marks the calling goroutine, and those that it starts from now on.
func (l Labels) Apply() {
	if l.ctx != nil {
		pprof.SetGoroutineLabels(l.ctx)
	}
}
