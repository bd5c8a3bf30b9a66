package netservice_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// What the program says with a refusal is seen by the other side, cleaned and cut;
// the text of any other error stays here.
func TestTextOfARefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		reason netservice.DisconnectReason
		text   string
	}{
		"text":     {&netservice.Refusal{Text: "too old: take 1.4"}, netservice.ReasonApplication, "too old: take 1.4"},
		"reason":   {&netservice.Refusal{Reason: netservice.ReasonTooManyPeers, Text: "come back later"}, netservice.ReasonTooManyPeers, "come back later"},
		"controls": {&netservice.Refusal{Text: "a\nb\x1b[31m"}, netservice.ReasonApplication, "a?b?[31m"},
		"long":     {&netservice.Refusal{Text: strings.Repeat("x", 1000)}, netservice.ReasonApplication, strings.Repeat("x", 128)},
		"private":  {errors.New("the password of the database is wrong"), netservice.ReasonApplication, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet(), netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { return tc.err }))
				b := nw.Add(chain(), quiet())
				here, there := a.Service().SubscribePeers(netservice.PeerRefused), b.Service().SubscribePeers(netservice.PeerRefused)
				nw.Start()
				err := b.Service().ConnectPeer(t.Context(), a.Addr())
				refused, ok := errors.AsType[*netservice.RefusedError](err)
				if !ok || refused.Reason != tc.reason || refused.Text != tc.text || !refused.ByRemote {
					t.Errorf("the refused side has %+v, %v", refused, err)
				}
				if tc.text != "" && !strings.Contains(err.Error(), tc.text) {
					t.Errorf("the text is not in %q", err)
				}
				if e := event(t, there, netservice.PeerRefused); e.Text != tc.text || !e.ByRemote {
					t.Errorf("the event there is %+v", e)
				}
				if e := event(t, here, netservice.PeerRefused); e.Text != tc.text || e.ByRemote {
					t.Errorf("the event here is %+v", e)
				}
			})
		})
	}
}

// ClosePeer takes the same, and the peer sees it.
func TestTextOfAClose(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		reason netservice.DisconnectReason
		text   string
	}{
		"nil":     {nil, netservice.ReasonRequested, ""},
		"none":    {netservice.ReasonNone, netservice.ReasonRequested, ""},
		"reason":  {netservice.ReasonSlowReader, netservice.ReasonSlowReader, ""},
		"text":    {&netservice.Refusal{Text: "maintenance\n"}, netservice.ReasonApplication, "maintenance?"},
		"both":    {&netservice.Refusal{Reason: netservice.ReasonShuttingDown, Text: "back at noon"}, netservice.ReasonShuttingDown, "back at noon"},
		"private": {errors.New("the password of the database is wrong"), netservice.ReasonApplication, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
				here, there := a.Service().SubscribePeers(), b.Service().SubscribePeers()
				nw.Start()
				if err := a.Service().ConnectPeer(t.Context(), b.Addr()); err != nil {
					t.Fatal(err)
				}
				if err := a.Service().ClosePeer(b.ID().String(), tc.err); err != nil {
					t.Fatal(err)
				}
				if e := event(t, there, netservice.PeerDisconnected); e.Reason != tc.reason || e.Text != tc.text || !e.ByRemote {
					t.Errorf("there: %+v", e)
				}
				if e := event(t, here, netservice.PeerDisconnected); e.Reason != tc.reason || e.Text != tc.text || e.ByRemote {
					t.Errorf("here: %+v", e)
				}
			})
		})
	}
}
