package obs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/sirupsen/logrus"
)

// libp2p has one log handler per process, which cannot be taken out again, and
// latches it at each logger's first line. The bridge therefore is process-wide:
// it is installed by the first service, each line goes to the newest service that
// is still attached, and to the handler that was there before while none is.
var bridge = &router{}

type router struct {
	once   sync.Once
	before slog.Handler        // set by once
	newest atomic.Pointer[Obs] // the last of sinks; nil without any

	mu    sync.Mutex // guards sinks and changes of newest
	sinks []*Obs
}

// BridgeLibp2p sends libp2p's own log lines at Warn and above to this Obs
// until detach is called. With several services in one process, the one that
// attached last gets the lines, since libp2p cannot tell them apart. After the
// last detach they go where they went before the first service.
func (o *Obs) BridgeLibp2p() (detach func()) {
	bridge.once.Do(func() {
		// The handler cannot be asked for, but a logger can be made to latch
		// it. It adds a name, before that of the logger whose line it is.
		bridge.before = gologshim.Logger(ownName).Handler().WithAttrs(nil)
		gologshim.SetDefaultHandler(bridgeHandler{own: bridge.before})
	})
	bridge.change(func(sinks []*Obs) []*Obs { return append(sinks, o) })
	return sync.OnceFunc(func() {
		bridge.change(func(sinks []*Obs) []*Obs {
			i := slices.Index(sinks, o)
			return slices.Delete(sinks, i, i+1)
		})
	})
}

func (r *router) change(f func([]*Obs) []*Obs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks = f(r.sinks)
	if len(r.sinks) == 0 {
		r.newest.Store(nil)
	} else {
		r.newest.Store(r.sinks[len(r.sinks)-1])
	}
}

const (
	ownName   = "libp2p"
	loggerKey = "logger" // under which a logger gives its name
)

// bridgeHandler is the slog.Handler that libp2p's loggers share.
type bridgeHandler struct {
	attrs []slog.Attr
	group string

	own   slog.Handler // for lines while no service is attached
	level *slog.Level  // of those; nil asks own
}

func (h bridgeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	o := bridge.newest.Load()
	switch {
	case o == nil && h.level != nil:
		return l >= *h.level
	case o == nil:
		return h.own.Enabled(ctx, l)
	case l < slog.LevelWarn: // first: libp2p asks for every stream and packet
		return false
	}
	return o.log.IsLevelEnabled(level(l))
}

func (h bridgeHandler) Handle(ctx context.Context, r slog.Record) error {
	o := bridge.newest.Load()
	if o == nil {
		return h.own.Handle(ctx, r)
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
	if ok, suppressed := o.limit.allow("libp2p/"+key, time.Now()); ok {
		if suppressed > 0 {
			fields["suppressed"] = suppressed
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
	if len(h.attrs) == 0 && len(attrs) > 0 && attrs[0].Key == loggerKey {
		// A logger latches this handler. What follows its name, own has.
		h.own, h.level = h.own.WithAttrs(attrs[:1]), ownLevel(h.own, attrs[0].Value.String())
	} else {
		h.own = h.own.WithAttrs(attrs)
	}
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
	last := name
	if h.group != "" {
		name = h.group + "." + name
	}
	h.group, h.own = name, h.own.WithGroup(last)
	return h
}

// ownLevel is the level of a logger's lines with the handler that libp2p makes
// itself, which differs from logger to logger; nil for one that the program has
// set.
func ownLevel(own slog.Handler, name string) *slog.Level {
	switch own.(type) {
	case *slog.TextHandler, *slog.JSONHandler:
	default:
		return nil
	}
	cfg, ctx := gologshim.ConfigFromEnv(), context.Background()
	if at := cfg.LevelForSystem(ownName); !own.Enabled(ctx, at) || own.Enabled(ctx, at-1) {
		return nil
	}
	at := cfg.LevelForSystem(name)
	return &at
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
