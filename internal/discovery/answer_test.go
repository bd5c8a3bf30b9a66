package discovery

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestDesk(t *testing.T) {
	d := newDesk()
	now := time.Unix(1_000_000, 0)
	expect := func(p peer.ID, want refusal) {
		t.Helper()
		if got := d.enter(now, p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for range answerPerPeer {
		expect("a", refusedNone)
	}
	expect("a", refusedLimit)
	for range answerPerPeer {
		d.leave("a")
	}
	for range answerBurst - answerPerPeer {
		expect("a", refusedNone)
		d.leave("a")
	}
	expect("a", refusedRate)
	expect("b", refusedNone) // the limit is a's own
	d.leave("b")
	now = now.Add(answerEvery)
	expect("a", refusedNone)
	d.leave("a")
	expect("a", refusedRate)
	if d.total != 0 || len(d.open) != 0 {
		t.Errorf("%d streams, %d peers are left", d.total, len(d.open))
	}
}

func TestDeskTotal(t *testing.T) {
	d := newDesk()
	now := time.Unix(1_000_000, 0)
	for i := range maxAnswering {
		if got := d.enter(now, peer.ID([]byte{byte(i)})); got != refusedNone {
			t.Fatalf("stream %d: %q", i, got)
		}
	}
	if got := d.enter(now, "late"); got != refusedLimit {
		t.Errorf("got %q", got)
	}
}

// What an honest node asks is never refused.
func TestDeskAdmitsTheSchedule(t *testing.T) {
	d := newDesk()
	start := time.Unix(1_000_000, 0)
	s := newSchedule(start, DefaultInterval, exactly)
	for i := range 3 { // two reconnects in ten seconds
		s.met(start.Add(time.Duration(i)*5*time.Second), "a")
		for p, times := range play(s, start, time.Duration(i+1)*5*time.Second-1) {
			for _, at := range times {
				if why := d.enter(start.Add(at), "asker"); why != refusedNone {
					t.Errorf("%q at %v: %q", p, at, why)
				} else {
					d.leave("asker")
				}
			}
		}
	}
}
