package gossip

import (
	"context"
	"log/slog"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// logHandler brings go-libp2p-pubsub's warnings into the service's log. Peers
// can cause them, so they are cleaned and limited by their text.
type logHandler struct{ obs *obs.Obs }

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.obs.Logger().IsLevelEnabled(logrus.WarnLevel)
}

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	fields := logrus.Fields{}
	r.Attrs(func(a slog.Attr) bool {
		fields[a.Key] = obs.Clean(a.Value.Resolve().String())
		return true
	})
	text := obs.Clean(r.Message)
	h.obs.WarnLimited("gossip", text, fields, text)
	return nil
}

func (h logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h logHandler) WithGroup(string) slog.Handler      { return h }
