package netservice_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// The collector exports how long messages wait in the dispatcher and how long
// validators take, by type.
func TestTimesAreExported(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
		s := b.Service()
		got := inbox(t, s, 4)
		if err := s.SetValidator("text", func(context.Context, dispatcher.Message) netservice.Verdict {
			time.Sleep(2 * time.Second)
			return netservice.Accept()
		}); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		if err := s.ConnectPeer(t.Context(), a.Addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the dispatcher has ticked
		if err := text.Broadcast(t.Context(), a.Service(), []byte("by gossip")); err != nil {
			t.Fatal(err)
		}
		next(t, "message", got)
		if err := text.Send(t.Context(), a.Service(), s.Node().ID(), []byte("directly")); err != nil {
			t.Fatal(err)
		}
		next(t, "message", got)
		registry := prometheus.NewRegistry()
		if err := registry.Register(s.Collector()); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		count, sum := map[string]uint64{}, map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				if h := m.Histogram; h != nil && strings.Contains(m.String(), `"text"`) {
					count[f.GetName()], sum[f.GetName()] = h.GetSampleCount(), h.GetSampleSum()
				}
			}
		}
		if n, total := count["nebnet_validation_seconds"], sum["nebnet_validation_seconds"]; n != 2 || total != 4 {
			t.Errorf("%d validations took %v s, want 2 and 4", n, total)
		}
		if n := count["nebnet_dispatcher_wait_seconds"]; n == 0 {
			t.Errorf("no wait in the dispatcher among %v", count)
		}
	})
}
