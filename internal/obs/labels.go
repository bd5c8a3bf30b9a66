package obs

import (
	"context"
	"fmt"
	"runtime/pprof"
)

// Labels mark goroutines in profiles, so that a profile of a whole node says
// which part of it costs what. Make them once for what they stand for (a type, a
// peer) and apply them at the beginning of each goroutine: making them takes
// memory, applying them nothing. The zero value marks nothing.
type Labels struct{ ctx context.Context }

// Labels makes labels: the engine that a goroutine belongs to, such as
// "session", and further names and values in pairs ("type", "peer", "method").
// They also tell the goroutines of this service from those of another one in the
// same process.
func (o *Obs) Labels(engine string, pairs ...string) Labels {
	all := append([]string{"engine", engine, ownerLabel, o.owner()}, pairs...)
	return Labels{pprof.WithLabels(context.Background(), pprof.Labels(all...))}
}

// Apply marks the calling goroutine, and those that it starts from now on.
func (l Labels) Apply() {
	if l.ctx != nil {
		pprof.SetGoroutineLabels(l.ctx)
	}
}

const ownerLabel = "service"

// owner is different for every Obs there is.
func (o *Obs) owner() string { return fmt.Sprintf("%p", o) }
