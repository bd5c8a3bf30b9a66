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
// warning if the peer is one to keep, and such a peer is not dialled again soon.
func TestFailedDialsAreLogged(t *testing.T) {
	addr := ma.StringCast("/ip4/192.0.2.1/tcp/1")
	mismatch := &swarm.DialError{DialErrors: []swarm.TransportError{
		{Address: addr, Cause: fmt.Errorf("negotiate: %w", sec.ErrPeerIDMismatch{Expected: zoe, Actual: alice})},
	}}
	for name, tc := range map[string]struct {
		add   func(*fixture)
		err   error
		warns bool
		text  string
	}{
		"unreachable": {func(fx *fixture) { fx.Name(info(zoe, addr.String()), RoleStatic) }, errors.New("no\nroute"), false, "no?route"},
		"ordinary":    {func(fx *fixture) { fx.learn(info(zoe, addr.String())) }, mismatch, false, ""},
		"persistent":  {func(fx *fixture) { fx.Name(info(zoe, addr.String()), RoleStatic) }, mismatch, true, ""},
		"reserved":    {func(fx *fixture) { fx.Name(info(zoe, addr.String()), RoleReserved) }, mismatch, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			log, hook := test.NewNullLogger()
			log.SetLevel(logrus.DebugLevel)
			fails := func(*fixture, context.Context, peer.AddrInfo) error { return fmt.Errorf("connect: %w", tc.err) }
			play(t, Config{Obs: obs.New(log, nil)}, fails, func(t *testing.T, fx *fixture) {
				tc.add(fx)
				time.Sleep(time.Minute)
				synctest.Wait()
				count := make(map[logrus.Level]int)
				for _, e := range hook.AllEntries() {
					count[e.Level]++
					if e.Data["peer"] != zoe.String() || e.Data["addrs"] != 1 {
						t.Errorf("%v", e.Data)
					}
					want := []string{"connect: " + tc.text}
					if tc.text == "" {
						want = []string{obs.Clean(addr.String() + ": " + mismatch.DialErrors[0].Cause.Error())}
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
				if soon := tc.err != mismatch; soon != (dials > 1) || count[logrus.DebugLevel] != dials || count[logrus.WarnLevel] != warnings {
					t.Errorf("%d dials are logged as %v", dials, count)
				}
			})
		})
	}
}

// A boot node whose key was changed is dialled and warned of at first, and then
// rarely, for as long as the mistake stands.
func TestWrongKeyIsSaidRarely(t *testing.T) {
	log, hook := test.NewNullLogger()
	mismatch := &swarm.DialError{DialErrors: []swarm.TransportError{
		{Address: ma.StringCast("/ip4/192.0.2.1/tcp/1"), Cause: sec.ErrPeerIDMismatch{Expected: zoe, Actual: alice}},
	}}
	fails := func(*fixture, context.Context, peer.AddrInfo) error { return fmt.Errorf("connect: %w", mismatch) }
	play(t, Config{Obs: obs.New(log, nil)}, fails, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe, "/ip4/192.0.2.1/tcp/1"), RoleStatic)
		time.Sleep(24 * time.Hour)
		if n := len(fx.dials(zoe)); n < 12 || n > 144 {
			t.Errorf("%d dials in a day", n)
		}
		if n := len(hook.AllEntries()); n < 4 || n > 8 {
			t.Errorf("%d warnings in a day", n)
		}
	})
}

// With one address that is only away for now, the peer is dialled as ever.
func TestWrongKeyAtOneAddress(t *testing.T) {
	err := &swarm.DialError{DialErrors: []swarm.TransportError{
		{Address: ma.StringCast("/ip4/192.0.2.1/tcp/1"), Cause: sec.ErrPeerIDMismatch{Expected: zoe, Actual: alice}},
		{Address: ma.StringCast("/ip4/192.0.2.2/tcp/1"), Cause: errors.New("timeout")},
	}}
	fails := func(*fixture, context.Context, peer.AddrInfo) error { return err }
	play(t, Config{}, fails, func(t *testing.T, fx *fixture) {
		fx.Name(info(zoe, "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"), RoleStatic)
		time.Sleep(time.Hour)
		if n := len(fx.dials(zoe)); n < 100 {
			t.Errorf("%d dials in an hour", n)
		}
	})
}
