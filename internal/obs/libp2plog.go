package obs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/sirupsen/logrus"
)

// libp2p has one log handler per process and latches it at each logger's first
// line. The bridge therefore is process-wide: it is installed by the first
// service, and each line goes to the newest service that is still attached.
var bridge = &router{}

type router struct {
	once  sync.Once
	mu    sync.Mutex // guards sinks
	sinks []*Obs
}

// BridgeLibp2p sends libp2p's own log lines at Warn and above to this Obs
// until detach is called. With several services in one process, the one that
// attached last gets the lines, since libp2p cannot tell them apart.
func (o *Obs) BridgeLibp2p() (detach func()) {
	bridge.once.Do(func() { gologshim.SetDefaultHandler(bridgeHandler{}) })
	bridge.mu.Lock()
	bridge.sinks = append(bridge.sinks, o)
	bridge.mu.Unlock()
	return sync.OnceFunc(func() {
		bridge.mu.Lock()
		defer bridge.mu.Unlock()
		if i := slices.Index(bridge.sinks, o); i >= 0 {
			bridge.sinks = slices.Delete(bridge.sinks, i, i+1)
		}
	})
}

func (r *router) current() *Obs {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sinks) == 0 {
		return nil
	}
	return r.sinks[len(r.sinks)-1]
}

// bridgeHandler is the slog.Handler that libp2p's loggers share.
type bridgeHandler struct {
	attrs []slog.Attr
	group string
}

func (h bridgeHandler) Enabled(_ context.Context, l slog.Level) bool {
	if l < slog.LevelWarn { // first: libp2p asks for every stream and packet
		return false
	}
	o := bridge.current()
	return o != nil && o.log.IsLevelEnabled(level(l))
}

func (h bridgeHandler) Handle(_ context.Context, r slog.Record) error {
	o := bridge.current()
	if o == nil {
		return nil
	}
	fields := logrus.Fields{"component": "libp2p"}
	at := level(r.Level)
	add := func(a slog.Attr) bool {
		if a.Equal(slog.Attr{}) { // slog: ignore it
			return true
		}
		if closedHere(a.Value) {
			at = logrus.DebugLevel
		}
		key := a.Key
		if h.group != "" {
			key = h.group + "." + key
		}
		fields[key] = Clean(a.Value.Resolve().String())
		return true
	}
	for _, a := range h.attrs {
		fields[a.Key] = Clean(a.Value.Resolve().String())
	}
	r.Attrs(add)
	// Peers can cause these lines, so they are limited by their text. The
	// record may come without a time, hence the clock.
	key := Clean(r.Message)
	if ok, held := o.limit.allow("libp2p/"+key, time.Now()); ok {
		if held > 0 {
			fields["suppressed"] = held
		}
		o.log.WithFields(fields).Log(at, key)
	}
	return nil
}

// closedHere tells whether a value is the error of a connection that this side
// closed. libp2p warns of what that interrupts, which is nothing to worry about.
func closedHere(v slog.Value) bool {
	err, ok := v.Any().(error)
	if !ok {
		return false
	}
	closed, ok := errors.AsType[*network.ConnError](err)
	return ok && !closed.Remote
}

func (h bridgeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	named := slices.Clone(attrs)
	if h.group != "" {
		for i := range named {
			named[i].Key = h.group + "." + named[i].Key
		}
	}
	h.attrs = append(slices.Clip(h.attrs), named...)
	return h
}

func (h bridgeHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	if h.group != "" {
		name = h.group + "." + name
	}
	h.group = name
	return h
}

func level(l slog.Level) logrus.Level {
	switch {
	case l >= slog.LevelError:
		return logrus.ErrorLevel
	case l >= slog.LevelWarn:
		return logrus.WarnLevel
	case l >= slog.LevelInfo:
		return logrus.InfoLevel
	}
	return logrus.DebugLevel
}
