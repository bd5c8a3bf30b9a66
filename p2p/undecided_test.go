package p2p

import (
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/stream"
)

// Streams on whose peer is not decided yet hold nobody's place, and a refused one
// counts as refused alone.
func TestUndecidedStreamsHoldNoPlace(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		asked, decide := make(chan struct{}, 3), make(chan bool)
		info, err := serve.NewListener(t.Context(), web, echoService(t), WithMaxStreams(1),
			WithAdmitFunc(func(peer.ID) bool { asked <- struct{}{}; return <-decide }))
		if err != nil {
			t.Fatal(err)
		}
		defer close(decide) // lets go of whoever still waits
		got := make(chan error, 3)
		for range 3 {
			s := openStream(t, dial.host, serve.self)
			if _, err := s.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			testkit.Receive(t, asked, "a stream")
			go func() {
				_, err := s.Read(make([]byte, 1))
				got <- stream.Explain(err)
			}()
		}
		if serve.host.ConnManager().IsProtected(dial.self, "") {
			t.Error("a peer that is not let in is protected")
		}
		if n := serve.Streams.Len(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
		for _, step := range []struct {
			admit bool
			want  error
		}{{false, ErrNotAdmitted}, {true, nil}, {true, ErrLimit}} {
			decide <- step.admit
			if err := testkit.Receive(t, got, "an answer"); !errors.Is(err, step.want) || step.want == nil && err != nil {
				t.Errorf("%v, want %v", err, step.want)
			}
		}
		if n := info.Now().Totals; n.Accepted != 1 || n.Refused != 2 {
			t.Errorf("totals %+v", n)
		}
		for name, want := range map[string]int64{
			obs.TunnelOpened: 1, obs.TunnelRefused + "not_admitted": 1, obs.TunnelRefused + "limit": 1,
			obs.TunnelFailed + "not_admitted": 0,
		} {
			if n := serve.obs.Counter(name).Count(); n != want {
				t.Errorf("%s is %d, want %d", name, n, want)
			}
		}
		if n := serve.obs.Gauge(obs.TunnelActive).Value(); n != 1 {
			t.Errorf("%d active", n)
		}
	})
}

// However many strangers wait, a peer with fewer streams than they have finds a place,
// and nobody has more than a share.
func TestUndecidedPool(t *testing.T) {
	u := undecided{asking: make(map[peer.ID]int)}
	lost := make(map[peer.ID]int)
	enter := func(p peer.ID) (*candidate, error) {
		c := &candidate{peer: p}
		loser, err := u.enter(c)
		if loser != nil {
			lost[loser.peer]++
		}
		return c, err
	}
	var one []*candidate
	for i := range 66 {
		for n := range 2 * maxUndecidedPerPeer {
			c, err := enter(peer.ID(fmt.Sprint("stranger ", i)))
			if (err == nil) != (n < maxUndecidedPerPeer) {
				t.Fatalf("stream %d of a stranger: %v", n, err)
			}
			if err == nil && i == 0 {
				one = append(one, c)
			}
		}
	}
	if len(u.waiting) != maxUndecided {
		t.Errorf("%d wait", len(u.waiting))
	}
	member, err := enter("member")
	if err != nil || lost["member"] != 0 || !u.leave(member) {
		t.Errorf("a member finds no place: %v", err)
	}
	// Strangers come faster than a member is decided on.
	member, _ = enter("member")
	for i := range 400 {
		enter(peer.ID(fmt.Sprint("late stranger ", i)))
	}
	if !u.leave(member) {
		t.Error("a member has lost its place to strangers with more streams")
	}
	stays := 0
	for _, c := range one {
		if u.leave(c) {
			stays++
		}
	}
	if stays == len(one) || u.asking["stranger 0"] != 0 {
		t.Errorf("%d of %d of the first stranger stay, %d are asked about", stays, len(one), u.asking["stranger 0"])
	}
}
