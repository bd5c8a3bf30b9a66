package peers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/peers/asn"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A fifth of the nodes are hostile, in three subnets, and tell of nobody but
// themselves, under as many keys as they like. Over 20 seeds the node under test
// ends with at least half honest peers of its own choice; and so it does when it
// starts with a book of which half is the attacker's. Where it is known of which
// autonomous system addresses are, as many subnets of one as it likes help the attacker
// no more.
func TestEclipse(t *testing.T) {
	provider := systems(t, "66.0.0.0/8 666")
	for name, tc := range map[string]struct {
		restarted bool
		subnets   int
		systems   *asn.Table
	}{
		"new": {false, 3, nil}, "with a poisoned book": {true, 3, nil},
		"many subnets": {false, 5000, provider}, "many subnets, with a poisoned book": {true, 5000, provider},
	} {
		t.Run(name, func(t *testing.T) {
			worst, total := 0, 0
			for seed := range uint64(20) {
				hostile, all := eclipse(t, seed, tc.restarted, tc.subnets, tc.systems)
				if all < 12 {
					t.Errorf("seed %d: %d peers", seed, all)
				}
				if 2*hostile > all {
					t.Errorf("seed %d: %d of %d peers are hostile", seed, hostile, all)
				}
				worst, total = max(worst, 100*hostile/max(all, 1)), total+100*hostile/max(all, 1)
			}
			t.Logf("%d %% hostile on average, %d %% at worst", total/20, worst)
		})
	}
}

func eclipse(t *testing.T, seed uint64, restarted bool, subnets int, known *asn.Table) (hostile, all int) {
	const honestNodes = 80
	rng := rand.New(rand.NewPCG(seed, 7))
	keys := 0
	honest := func(i int) peer.AddrInfo {
		return info(peer.ID(fmt.Sprintf("good%04d", i)), fmt.Sprintf("/ip4/20.%d.7.1/tcp/1", i))
	}
	evil := func() peer.AddrInfo {
		keys++
		net := rng.IntN(subnets)
		return info(peer.ID(fmt.Sprintf("evil%06d", keys)), fmt.Sprintf("/ip4/66.%d.%d.%d/tcp/%d", 6+net>>8, net&255, rng.IntN(250), 1+keys%60000))
	}
	connect := func(fx *fixture, _ context.Context, ai peer.AddrInfo) error {
		tk, r := fx.Admit(ai.ID, dirOut, 0, ai.Addrs[0])
		if r == none {
			r = fx.commit(tk)
		}
		return r.Err()
	}
	own := rand.New(rand.NewPCG(seed, 8)) // the manager's goroutines draw from it
	play(t, Config{Rand: own.Float64, Systems: known}, connect, func(t *testing.T, fx *fixture) {
		if restarted {
			for i := range honestNodes {
				fx.Learn(book.Told{Peer: honest(i), Source: book.FromPeer})
			}
			for range honestNodes {
				fx.Learn(book.Told{Peer: evil(), Source: book.FromPeer})
			}
		} else {
			fx.Name(honest(0), RoleStatic)
		}
		for range 60 { // ten minutes
			time.Sleep(10 * time.Second)
			fx.seen.Lock()
			var here []peer.ID
			for p := range fx.admissions {
				here = append(here, p)
			}
			fx.seen.Unlock()
			for _, p := range here {
				for range 4 {
					told := evil()
					if p[:4] == "good" && rng.IntN(5) > 0 {
						told = honest(rng.IntN(honestNodes))
					}
					fx.Learn(book.Told{Peer: told, Source: book.FromExchange, Teller: p})
				}
			}
		}
		for p := range fx.admissions {
			all++
			if p[:4] == "evil" {
				hostile++
			}
		}
	})
	return hostile, all
}
