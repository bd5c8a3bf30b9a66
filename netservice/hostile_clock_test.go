package netservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// memory is a PeerStore.
type memory struct{ book []byte }

func (m *memory) Load() ([]byte, error) { return m.book, nil }

func (m *memory) Save(book []byte) error {
	m.book = book
	return nil
}

// Row 39: a node restarts, and its clock is days or a year off what it was: it was wrong
// before, or is now, or the node was off for as long. A ban lasts no longer than it was
// meant to, and ends when its time has passed; and the peers of before are dialled at
// once.
func TestHostileClock(t *testing.T) {
	const ban, day = 10 * time.Minute, 24 * time.Hour
	for name, tc := range map[string]struct {
		before, now time.Duration // what the clock shows, counted from the same moment
		banned      bool
	}{
		"set back":     {3 * day, 0, true},
		"set ahead":    {0, 5 * day, false},
		"right":        {day, day + time.Minute, true},
		"a year back":  {365 * day, 0, true},
		"a year ahead": {0, 365 * day, false},
	} {
		t.Run(name, func(t *testing.T) {
			var store memory
			// A bubble's clock begins at the same moment each time.
			run := func(clock time.Duration, f func(s *siege, svc *netservice.NebService, offender string)) {
				bubble(t, func(t *testing.T) {
					time.Sleep(clock)
					s := &siege{t: t, net: testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond})),
						texts: make(chan string, 64), numbers: make(map[string]uint64), learned: make(chan struct{})}
					s.victim = s.service(s.address(), chain())
					offender := s.service(s.address(), chain())
					for _, other := range []*netservice.NebService{s.victim, offender} {
						if err := other.Start(); err != nil {
							t.Fatal(err)
						}
					}
					svc := s.service(s.address(), chain(), netservice.WithPeerStore(&store))
					if err := svc.Start(); err != nil {
						t.Fatal(err)
					}
					f(s, svc, offender.Node().Addrs()[0].String())
				})
			}
			run(tc.before, func(s *siege, svc *netservice.NebService, offender string) {
				for _, addr := range []string{s.addr(), offender} {
					if err := svc.ConnectPeer(s.t.Context(), addr); err != nil {
						s.t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				for _, p := range svc.Peers() {
					if p.ID != s.victim.Node().ID() {
						svc.BanPeer(p.ID.String(), ban)
					}
				}
			})
			run(tc.now, func(s *siege, svc *netservice.NebService, offender string) {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
				defer cancel()
				if err := svc.WaitForPeers(ctx, 1); err != nil {
					s.t.Fatal(err)
				}
				if d := time.Since(begin); d > 10*time.Second {
					s.t.Errorf("the first peer of before comes after %s", d)
				}
				if err := svc.ConnectPeer(s.t.Context(), offender); errors.Is(err, netservice.ReasonBanned) != tc.banned {
					s.t.Errorf("the offender: %v", err)
				}
				time.Sleep(ban + time.Minute)
				if err := svc.ConnectPeer(s.t.Context(), offender); err != nil {
					s.t.Errorf("the offender after %s: %v", time.Since(begin), err)
				}
			})
		})
	}
}
