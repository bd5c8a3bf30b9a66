package netservice_test

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// What an operator looks for first stands in the log at Info: who came, who left and
// why, and whose configuration is of another network. A peer that tries again and
// again does not fill it.
func TestPeersAreLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, hook := logtest.NewNullLogger()
		nw := nettest.New(t)
		boot := nw.Add(chain(), netservice.WithLogger(log))
		peer := nw.Add(booted(boot), quiet())
		wrongChain, wrongGenesis := booted(boot), booted(boot)
		wrongChain.ChainID, wrongGenesis.Genesis = "other", "02"
		strangers := []*nettest.Node{nw.Add(wrongChain, quiet()), nw.Add(wrongGenesis, quiet())}
		nw.Start()
		time.Sleep(time.Minute)
		peer.Stop()
		time.Sleep(4 * time.Hour)

		lines := make(map[string]int)
		for _, e := range hook.AllEntries() {
			if e.Level != logrus.InfoLevel {
				t.Errorf("at %s: %s %v", e.Level, e.Message, e.Data)
			}
			who, _ := e.Data["peer"].(string)
			reason, _ := e.Data["reason"].(string)
			lines[e.Message+" "+who+" "+reason]++
		}
		for _, line := range []string{
			"peer connected " + peer.ID().String() + " ",
			"peer disconnected " + peer.ID().String() + " " + netservice.ReasonShuttingDown.Label(),
		} {
			if lines[line] != 1 {
				t.Errorf("%d times %q", lines[line], line)
			}
		}
		for i, reason := range []netservice.DisconnectReason{netservice.ReasonWrongChain, netservice.ReasonWrongGenesis} {
			line := "peer refused " + strangers[i].ID().String() + " " + reason.Label()
			if n := lines[line]; n < 1 || n > 20 {
				t.Errorf("%d times %q", n, line)
			}
		}
		t.Log(lines)
	})
}
