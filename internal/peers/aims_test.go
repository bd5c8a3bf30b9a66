package peers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Row 59: however many made-up peers are said to be at one address, it is dialled
// a few times an hour; and a whole neighbourhood is not dialled much more often.
func TestDialsCannotBeAimed(t *testing.T) {
	for name, tc := range map[string]struct {
		at   func(i int) string
		most int
	}{
		"one address": {func(i int) string { return fmt.Sprintf("/ip4/99.1.2.3/tcp/%d", 1+i%60000) }, 16 + 12},
		"one subnet":  {func(i int) string { return fmt.Sprintf("/ip4/99.1.2.%d/tcp/1", i%250) }, 64 + 60},
	} {
		t.Run(name, func(t *testing.T) {
			dials := 0
			connect := func(fx *fixture, _ context.Context, ai peer.AddrInfo) error {
				if ai.ID[0] == 'P' {
					fx.seen.Lock()
					dials += len(ai.Addrs)
					fx.seen.Unlock()
				}
				return errors.New("refused")
			}
			play(t, Config{}, connect, func(t *testing.T, fx *fixture) {
				fx.accept(zoe, 1)
				for i := range 3600 {
					fx.learn(info(peerN(i), tc.at(i)))
					time.Sleep(time.Second)
				}
			})
			if dials < 5 || dials > tc.most {
				t.Errorf("%d dials in an hour, at most %d", dials, tc.most)
			}
		})
	}
}
