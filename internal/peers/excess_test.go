package peers

import (
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

// A peer makes one event a minute however often it tries, and all peers
// together no more than the rate.
func TestCrowded(t *testing.T) {
	play(t, Config{}, nil, func(t *testing.T, fx *fixture) {
		usual, addr := fx.Subscribe(0), ma.StringCast("/ip4/192.0.2.1/tcp/5")
		for range 600 {
			fx.NoteCrowded(zoe, addr)
			time.Sleep(200 * time.Millisecond)
		}
		got := queued(usual)
		if len(got) != 2 || got[0].Kind != Crowded || got[0].Peer != zoe || got[1].At.Sub(got[0].At) < excessEvery {
			t.Errorf("two minutes of one peer: %v", got)
		}
		for i := range 10_000 {
			fx.NoteCrowded(peerN(i), addr)
			time.Sleep(time.Second / 100)
		}
		if n := len(queued(usual)); n < 16 || n > 16+21 {
			t.Errorf("%d events of 10,000 peers in 100 seconds", n)
		}
		if n := fx.stateSize(); n > maxExcess { // there is no other state
			t.Errorf("%d peers are remembered", n)
		}
		time.Sleep(excessEvery + 2*sweepEvery)
		if n := fx.stateSize(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}
