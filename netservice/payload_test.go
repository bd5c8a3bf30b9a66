package netservice_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A payload that does not fit the hello is found by Start; one that fits to the
// byte is fine.
func TestStartFindsLargePayload(t *testing.T) {
	for _, size := range []int{16 << 10, 16<<10 + 1} {
		inBubble(t, func(t *testing.T, nw *nettest.Network) {
			s := nw.Add(chain(), quiet(), netservice.WithPayload(func() []byte { return make([]byte, size) })).Service()
			err := s.Start()
			defer s.Stop()
			if size == 16<<10 {
				if err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
				return
			}
			ce, ok := errors.AsType[*netservice.ConfigError](err)
			if !ok || ce.Field != "WithPayload" || !errors.Is(err, netservice.ErrPayloadTooLarge) {
				t.Errorf("%d bytes: %v", size, err)
			}
		})
	}
}

// A program whose part cannot be had takes part without it.
func TestPayloadPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet(), netservice.WithPayload(func() []byte { panic("payload") }))
		b := nw.Add(chain(), quiet())
		nw.Start()
		if err := b.Service().ConnectPeer(t.Context(), a.Addr()); err != nil {
			t.Fatal(err)
		}
		if p := b.Service().Peers(); len(p) != 1 || len(p[0].Payload) != 0 {
			t.Errorf("peers %+v", p)
		}
	})
}

// One that becomes too long while the service runs fails handshakes; the log
// says why, and a counter how often. Handshakes succeed again when it is shorter.
func TestPayloadGrowsTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		var size atomic.Int64
		var out bytes.Buffer
		log := logrus.New()
		log.SetOutput(&out)
		a := nw.Add(chain(), netservice.WithLogger(log), netservice.WithPayload(func() []byte { return make([]byte, size.Load()) }))
		b := nw.Add(chain(), quiet())
		nw.Start()
		size.Store(16<<10 + 1)
		if err := b.Service().ConnectPeer(t.Context(), a.Addr()); err == nil {
			t.Error("a handshake succeeded")
		}
		if n := metrics.GetOrRegisterCounter(obs.PayloadTooLarge, a.Service().Metrics()).Count(); n != 1 {
			t.Errorf("counted %d times", n)
		}
		size.Store(1)
		time.Sleep(time.Minute)
		if err := b.Service().ConnectPeer(t.Context(), a.Addr()); err != nil {
			t.Errorf("short again: %v", err)
		}
		nw.Stop()
		if text := out.String(); !strings.Contains(text, "payload is too long") || !strings.Contains(text, "bytes=16385") {
			t.Errorf("log: %s", text)
		}
	})
}
