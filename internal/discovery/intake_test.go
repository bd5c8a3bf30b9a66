package discovery

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestIntake(t *testing.T) {
	type round struct {
		after     time.Duration // since the round before
		from      peer.ID
		candidate peer.ID
		seq       uint64
		met       bool // the candidate is met instead
		want      outcome
	}
	tell := func(after time.Duration, from, candidate peer.ID, want outcome) round {
		return round{after: after, from: from, candidate: candidate, want: want}
	}
	newer := func(after time.Duration, from, candidate peer.ID, seq uint64, want outcome) round {
		return round{after: after, from: from, candidate: candidate, seq: seq, want: want}
	}
	met := func(p peer.ID) round { return round{candidate: p, met: true} }
	for _, c := range []struct {
		name   string
		rounds []round
	}{
		{"once in a while", []round{
			tell(0, "a", "x", accepted),
			tell(0, "a", "x", dropRepeated),
			tell(59*time.Second, "b", "x", dropRepeated),
			tell(time.Second, "b", "x", accepted),
			tell(119*time.Second, "a", "x", dropRepeated),
			tell(time.Second, "a", "x", accepted),
		}},
		{"share of an hour", []round{
			tell(0, "a", "1", accepted),
			tell(0, "a", "2", accepted),
			tell(0, "a", "3", accepted),
			tell(0, "a", "4", accepted),
			tell(0, "a", "5", dropSource),
			tell(0, "b", "5", accepted), // another source is not held back by it
			tell(14*time.Minute, "a", "6", dropSource),
			tell(time.Minute, "a", "6", accepted), // a quarter of an hour, a quarter of the share
			tell(0, "a", "7", dropSource),
		}},
		{"repeats are free", []round{
			tell(0, "a", "1", accepted),
			tell(0, "a", "1", dropRepeated),
			tell(0, "a", "1", dropRepeated),
			tell(0, "a", "1", dropRepeated),
			tell(0, "a", "1", dropRepeated),
			tell(0, "a", "2", accepted),
		}},
		{"newer records pass", []round{
			newer(0, "a", "x", 5, accepted),
			newer(time.Second, "b", "x", 5, dropRepeated),
			newer(0, "b", "x", 4, dropRepeated),
			newer(0, "b", "x", 6, accepted),
			newer(time.Second, "a", "x", 5, dropRepeated),
			newer(0, "a", "x", 7, accepted), // however often, and out of the source's share
			newer(0, "a", "x", 8, accepted),
			newer(0, "a", "x", 9, accepted),
			newer(0, "a", "x", 10, dropSource),
		}},
		{"a session resets it", []round{
			tell(0, "a", "x", accepted),
			met("x"),
			tell(time.Second, "a", "x", accepted),
			tell(59*time.Second, "a", "x", dropRepeated),
			tell(time.Second, "a", "x", accepted),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newIntake(4, time.Minute)
			now := time.Unix(1_000_000, 0)
			for i, r := range c.rounds {
				now = now.Add(r.after)
				if r.met {
					in.met(r.candidate)
					continue
				}
				if got := in.admit(now, r.from, r.candidate, r.seq); got != r.want {
					t.Errorf("round %d: %s, want %s", i, got, r.want)
				}
			}
		})
	}
}

func TestIntakePauseIsBounded(t *testing.T) {
	in := newIntake(1000, time.Minute)
	now := time.Unix(1_000_000, 0)
	for range 20 {
		if got := in.admit(now, "a", "x", 0); got != accepted {
			t.Fatalf("got %s", got)
		}
		now = now.Add(maxOfferAgain)
	}
}

func TestIntakeMemoryIsBounded(t *testing.T) {
	in := newIntake(1, time.Minute)
	now := time.Unix(1_000_000, 0)
	for i := range 2 * maxOffers {
		id := peer.ID([]byte{byte(i), byte(i >> 8)})
		in.admit(now, id, id, 0)
	}
	if in.offers.Len() != maxOffers || in.sources.Len() != maxSources {
		t.Errorf("%d offers, %d sources", in.offers.Len(), in.sources.Len())
	}
}
