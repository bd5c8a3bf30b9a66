package netservice_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// What a node shows of itself as JSON reads well: limits, weights and words, no
// numbers that stand for words.
func TestStatsReadWell(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
		blocks := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(300_000), netservice.WithPriority(netservice.PriorityHigh))
		if _, err := blocks.Subscribe(a.Service(), func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		met := a.Service().SubscribePeers(netservice.PeerConnected)
		nw.Start()
		if err := a.Service().ConnectPeer(t.Context(), b.Addr()); err != nil {
			t.Fatal(err)
		}
		for what, tc := range map[string]struct {
			v    any
			want []string
		}{
			"stats": {a.Service().Stats(), []string{`"MaxSize":300000`, `"Priority":"high"`, `"Compression":"s2"`, `"Weight":`, `"Policy":"`, `"ID":"[]byte"`}},
			"peers": {a.Service().Peers(), []string{`"Direction":"outbound"`, `"LastEnded":"`, `"ID":"` + b.ID().String(), `"Transport":"tcp"`}},
			"event": {event(t, met, netservice.PeerConnected), []string{`"Kind":"connected"`, `"Direction":"outbound"`, `"Reason":"`}},
		} {
			out, err := json.Marshal(tc.v)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: no %s in %s", what, want, out)
				}
			}
		}
	})
}
