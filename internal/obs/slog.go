package obs

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/sirupsen/logrus"
)

// FromSlog makes a logger that hands its lines to l, each field as an attribute.
// Which levels it has is asked of l now: what l does not take is not even built.
func FromSlog(l *slog.Logger) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetFormatter(noText{})
	log.SetLevel(logrus.PanicLevel)
	for _, level := range []logrus.Level{logrus.TraceLevel, logrus.DebugLevel, logrus.InfoLevel, logrus.WarnLevel, logrus.ErrorLevel} {
		if l.Enabled(context.Background(), slogLevel(level)) {
			log.SetLevel(level)
			break
		}
	}
	log.AddHook(toSlog{l})
	return log
}

// noText spares the text that nobody would read.
type noText struct{}

func (noText) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// toSlog is the hook that hands lines on.
type toSlog struct{ l *slog.Logger }

// Levels is logrus.Hook.
func (toSlog) Levels() []logrus.Level { return logrus.AllLevels }

// Fire is logrus.Hook.
func (h toSlog) Fire(e *logrus.Entry) error {
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	level := slogLevel(e.Level)
	if !h.l.Enabled(ctx, level) {
		return nil
	}
	r := slog.NewRecord(e.Time, level, e.Message, 0)
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		r.AddAttrs(slog.Any(key, e.Data[key]))
	}
	return h.l.Handler().Handle(ctx, r)
}

func slogLevel(l logrus.Level) slog.Level {
	switch l {
	case logrus.TraceLevel:
		return slog.LevelDebug - 4
	case logrus.DebugLevel:
		return slog.LevelDebug
	case logrus.InfoLevel:
		return slog.LevelInfo
	case logrus.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}
