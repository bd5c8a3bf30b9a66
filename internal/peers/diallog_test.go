package peers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Each failed dial is in the log, at Debug. That another peer answers is a
// warning if the peer is one to keep, and not more often than every ten seconds.
func TestFailedDialsAreLogged(t *testing.T) {
	at := ma.StringCast("/ip4/192.0.2.1/tcp/1")
	mismatch := &swarm.DialError{DialErrors: []swarm.TransportError{
		{Address: at, Cause: fmt.Errorf("negotiate: %w", sec.ErrPeerIDMismatch{Expected: zoe, Actual: alice})},
	}}
	for name, tc := range map[string]struct {
		add   func(*fixture)
		err   error
		warns bool
		text  string
	}{
		"unreachable": {func(fx *fixture) { fx.AddPersistent(info(zoe, at.String())) }, errors.New("no\nroute"), false, "no?route"},
		"ordinary":    {func(fx *fixture) { fx.Dial(info(zoe, at.String())) }, mismatch, false, ""},
		"persistent":  {func(fx *fixture) { fx.AddPersistent(info(zoe, at.String())) }, mismatch, true, ""},
		"reserved":    {func(fx *fixture) { fx.Reserve(zoe); fx.Dial(info(zoe, at.String())) }, mismatch, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			log, hook := test.NewNullLogger()
			log.SetLevel(logrus.DebugLevel)
			fails := func(*fixture, context.Context, peer.AddrInfo) error { return fmt.Errorf("connect: %w", tc.err) }
			play(t, Config{Obs: obs.New(log, nil)}, fails, func(t *testing.T, fx *fixture) {
				tc.add(fx)
				time.Sleep(9 * time.Second)
				synctest.Wait()
				count := make(map[logrus.Level]int)
				for _, e := range hook.AllEntries() {
					count[e.Level]++
					if e.Data["peer"] != zoe.String() || e.Data["addrs"] != 1 {
						t.Errorf("%v", e.Data)
					}
					want := []string{"connect: " + tc.text}
					if tc.text == "" {
						want = []string{obs.Clean(at.String() + ": " + mismatch.DialErrors[0].Cause.Error())}
					}
					if d := cmp.Diff(want, e.Data["error"]); d != "" {
						t.Error(d)
					}
					if e.Level == logrus.WarnLevel && e.Data["answers"] != alice.String() {
						t.Errorf("%v answers", e.Data["answers"])
					}
				}
				dials, warnings := len(fx.dials(zoe)), 0
				if tc.warns {
					warnings = 1
				}
				if dials < 2 || count[logrus.DebugLevel] != dials || count[logrus.WarnLevel] != warnings {
					t.Errorf("%d dials are logged as %v", dials, count)
				}
			})
		})
	}
}
