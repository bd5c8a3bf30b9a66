package obs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// lines logs through slog and returns the text without times.
func lines(level slog.Level, f func(l *logrus.Logger)) string {
	var out bytes.Buffer
	h := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	f(FromSlog(slog.New(h).With("app", "node")))
	return out.String()
}

func TestFromSlog(t *testing.T) {
	got := lines(slog.LevelInfo, func(l *logrus.Logger) {
		l.WithField("peer", "A").WithError(errors.New("no room")).Warn("message dropped")
		l.WithField("id", 7).Info("started")
		l.Debug("not wanted")
		l.Error("bad")
	})
	want := `level=WARN msg="message dropped" app=node error="no room" peer=A
level=INFO msg=started app=node id=7
level=ERROR msg=bad app=node
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFromSlogLevels(t *testing.T) {
	for level, want := range map[slog.Level]logrus.Level{
		slog.LevelDebug - 4: logrus.TraceLevel, slog.LevelDebug: logrus.DebugLevel, slog.LevelInfo: logrus.InfoLevel,
		slog.LevelWarn: logrus.WarnLevel, slog.LevelError: logrus.ErrorLevel, slog.LevelError + 4: logrus.PanicLevel,
	} {
		lines(level, func(l *logrus.Logger) {
			if l.GetLevel() != want {
				t.Errorf("slog at %v: logrus at %v, want %v", level, l.GetLevel(), want)
			}
		})
	}
	all := lines(slog.LevelDebug-4, func(l *logrus.Logger) { l.Trace("x") })
	if !strings.Contains(all, "level=DEBUG-4") {
		t.Error(all)
	}
}
