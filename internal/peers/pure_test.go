package peers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
)

func TestAdmit(t *testing.T) {
	tests := []struct {
		name string
		s    slots
		c    candidate
		want handshake.Reason
	}{
		{"room", slots{max: 4, maxInbound: 2}, candidate{inbound: true}, none},
		{"inbound share full", slots{4, 2, 2, 0}, candidate{inbound: true}, handshake.ReasonTooManyPeers},
		{"outbound beside a full inbound share", slots{4, 2, 2, 0}, candidate{}, none},
		{"full", slots{4, 2, 1, 3}, candidate{}, handshake.ReasonTooManyPeers},
		{"peers to keep beyond the inbound share", slots{4, 2, 4, 1}, candidate{}, none},
		{"peers to keep beyond the inbound share, full", slots{4, 2, 4, 2}, candidate{}, handshake.ReasonTooManyPeers},
		{"full, inbound", slots{4, 2, 1, 3}, candidate{inbound: true}, handshake.ReasonTooManyPeers},
		{"full, reserved", slots{4, 2, 1, 3}, candidate{inbound: true, kept: true}, none},
		{"over full, reserved", slots{4, 2, 9, 9}, candidate{inbound: true, kept: true}, none},
		{"full, has its slot", slots{4, 2, 1, 3}, candidate{inbound: true, counted: true}, none},
		{"banned", slots{max: 4, maxInbound: 2}, candidate{banned: true}, handshake.ReasonBanned},
		{"banned beats reserved", slots{max: 4}, candidate{banned: true, kept: true}, handshake.ReasonBanned},
		{"self", slots{max: 4}, candidate{self: true, kept: true}, handshake.ReasonSelf},
		{"enough of its neighbourhood", slots{max: 4}, candidate{shareTaken: true}, handshake.ReasonTooManyPeers},
		{"enough of its neighbourhood, reserved", slots{max: 4}, candidate{shareTaken: true, kept: true}, none},
		{"no inbound at all", slots{max: 4}, candidate{inbound: true}, handshake.ReasonTooManyPeers},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := admit(tt.s, tt.c); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTie(t *testing.T) {
	const timeout = 10 * time.Second
	relayed := &contender{instance: 1, age: time.Second, relayed: true}
	half := func(instance uint64, age time.Duration) *contender { return &contender{instance: instance, age: age} }
	refuse := ruling{refuse: alreadyConnected}
	replace := ruling{replaceLive: true}
	tests := []struct {
		name     string
		p        peer.ID
		l        peerState
		instance uint64
		answer   ruling
		confirm  ruling
		open     handshake.Reason
	}{
		{"nothing", zoe, peerState{}, 1, ruling{}, ruling{}, none},
		{"crossing, self smaller", zoe, peerState{opening: true}, 1, refuse, ruling{}, alreadyConnected},
		{"crossing, self larger", alice, peerState{opening: true}, 1, ruling{}, ruling{}, alreadyConnected},
		{"answering the same", zoe, peerState{answering: half(1, 0)}, 1, refuse, ruling{replaceAnswering: true}, alreadyConnected},
		{"answering, restarted", zoe, peerState{answering: half(1, 0)}, 2, ruling{replaceAnswering: true}, ruling{replaceAnswering: true}, alreadyConnected},
		{"young session", zoe, peerState{live: half(1, time.Second)}, 1, refuse, refuse, alreadyConnected},
		{"session of the timeout's age", zoe, peerState{live: half(1, timeout)}, 1, refuse, refuse, alreadyConnected},
		{"old session", zoe, peerState{live: half(1, timeout+1)}, 1, replace, replace, alreadyConnected},
		{"young session, restarted", zoe, peerState{live: half(1, 0)}, 2, replace, replace, alreadyConnected},
		{"young session, instance unknown", zoe, peerState{live: half(1, 0)}, 0, refuse, refuse, alreadyConnected},
		{"young session of unknown instance", zoe, peerState{live: half(0, 0)}, 5, refuse, refuse, alreadyConnected},
		{"old session, answering", zoe, peerState{live: half(1, timeout*2), answering: half(1, 0)}, 1, refuse,
			ruling{replaceLive: true, replaceAnswering: true}, alreadyConnected},
		{"session through a relay", zoe, peerState{live: relayed}, 1, ruling{}, ruling{}, none},
		{"session through a relay, crossing", zoe, peerState{live: relayed, opening: true}, 1, refuse, ruling{}, alreadyConnected},
		{"session through a relay, answering", zoe, peerState{live: relayed, answering: half(1, 0)}, 1, refuse,
			ruling{replaceAnswering: true}, alreadyConnected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mayAnswer(self, tt.p, tt.l, tt.instance, true, timeout); got != tt.answer {
				t.Errorf("answer: %+v, want %+v", got, tt.answer)
			}
			if got := mayConfirm(tt.l, tt.instance, true, timeout); got != tt.confirm {
				t.Errorf("confirm: %+v, want %+v", got, tt.confirm)
			}
			if got := mayOpen(tt.l, true); got != tt.open {
				t.Errorf("open: %v, want %v", got, tt.open)
			}
		})
	}
}

// Only a direct connection takes a relayed one's place.
func TestRelayedSessions(t *testing.T) {
	l := peerState{live: &contender{instance: 1, relayed: true}}
	if r := mayOpen(l, false); r != alreadyConnected {
		t.Errorf("a second hello through a relay: %v", r)
	}
	if v := mayAnswer("a", "b", l, 1, false, time.Second); v.refuse != alreadyConnected {
		t.Errorf("answered through a relay: %+v", v)
	}
	l.live.relayed = false
	if r := mayOpen(l, true); r != alreadyConnected {
		t.Errorf("a second direct hello: %v", r)
	}
}

// Of two nodes whose hellos cross, exactly one answers.
func TestCrossingIsDecidedAlike(t *testing.T) {
	for range 1000 {
		a, b := peer.ID(fmt.Sprint(rand.Uint64())), peer.ID(fmt.Sprint(rand.Uint64()))
		atA := mayAnswer(a, b, peerState{opening: true}, 1, true, time.Second).refuse == none
		atB := mayAnswer(b, a, peerState{opening: true}, 1, true, time.Second).refuse == none
		if atA == atB {
			t.Fatalf("%s answers: %v, %s answers: %v", a, atA, b, atB)
		}
	}
}

func TestBackoff(t *testing.T) {
	for name, b := range map[string]backoff{
		"soon": backoffSoon, "other": backoffOther, "lonely": backoffLonely, "later": backoffLater, "much later": backoffMuchLater, "permanent": backoffPermanent,
	} {
		for n := range 100 {
			low, high := b.delay(n, 0), b.delay(n, math.Nextafter(1, 0))
			want := min(b.max, time.Duration(min(float64(b.base)*math.Pow(2, float64(n)), float64(b.max))))
			if low != b.floor || high > want || high < want-time.Microsecond {
				t.Errorf("%s %d: %v to %v, want %v to %v", name, n, low, high, b.floor, want)
			}
		}
		if b.delay(-1, 0.5) != b.delay(0, 0.5) {
			t.Errorf("%s: negative number of failures", name)
		}
	}
}

func TestRedial(t *testing.T) {
	const rnd = 0.5
	tests := []struct {
		name string
		e    ending
		want next
	}{
		{"first failure", ending{reason: handshake.ReasonUnreachable},
			next{after: backoffOther.delay(0, rnd), failures: 1}},
		{"third failure", ending{reason: handshake.ReasonUnreachable, failures: 2},
			next{after: backoffOther.delay(2, rnd), failures: 3}},
		{"failure that took long", ending{reason: handshake.ReasonUnreachable, took: time.Minute},
			next{after: time.Minute + backoffOther.delay(0, rnd), failures: 1}},
		{"persistent, failure that took long", ending{reason: handshake.ReasonUnreachable, persistent: true, took: time.Minute},
			next{after: backoffSoon.delay(0, rnd), failures: 1}},
		{"failure that took long, without any session", ending{reason: handshake.ReasonUnreachable, lonely: true, took: time.Minute},
			next{after: backoffLonely.delay(0, rnd), failures: 1}},
		{"failure without any session", ending{reason: handshake.ReasonUnreachable, lonely: true, failures: 20},
			next{after: backoffLonely.delay(20, rnd), failures: 21}},
		{"persistent, first failure", ending{reason: handshake.ReasonUnreachable, persistent: true},
			next{after: backoffSoon.delay(0, rnd), failures: 1}},
		{"persistent, thousandth failure", ending{reason: handshake.ReasonUnreachable, failures: 999, persistent: true},
			next{after: backoffSoon.delay(999, rnd), failures: 1000}},
		{"persistent, failure without any session", ending{reason: handshake.ReasonTimeout, failures: 999, persistent: true, lonely: true},
			next{after: backoffLonely.delay(999, rnd), failures: 1000}},
		{"refused without any session", ending{reason: handshake.ReasonTooManyPeers, persistent: true, lonely: true},
			next{after: backoffLater.delay(0, rnd), failures: 1}},
		{"short session counts as a failure", ending{reason: handshake.ReasonTransportLost, failures: 3, lived: stableAfter - 1},
			next{after: backoffOther.delay(3, rnd), failures: 4}},
		{"long session clears", ending{reason: handshake.ReasonTransportLost, failures: 3, lived: stableAfter},
			next{after: backoffOther.delay(0, rnd)}},
		{"own limit", ending{reason: handshake.ReasonUnreachable, ownLimit: true}, next{after: backoffLater.delay(0, rnd), failures: 1}},
		{"own limit, persistent", ending{reason: handshake.ReasonUnreachable, ownLimit: true, persistent: true},
			next{after: backoffSoon.delay(0, rnd), failures: 1}},
		{"wrong chain", ending{reason: handshake.ReasonWrongChain}, next{after: backoffPermanent.delay(0, rnd), failures: 1, forget: true}},
		{"wrong chain, persistent", ending{reason: handshake.ReasonWrongChain, persistent: true},
			next{after: backoffPermanent.delay(0, rnd), failures: 1}},
		{"wrong version, persistent", ending{reason: handshake.ReasonWrongVersion, persistent: true, failures: 1},
			next{after: backoffPermanent.delay(1, rnd), failures: 2}},
		{"another key", ending{reason: handshake.ReasonUnreachable, stranger: true}, next{after: backoffPermanent.delay(0, rnd), failures: 1}},
		{"another key, persistent", ending{reason: handshake.ReasonUnreachable, stranger: true, persistent: true},
			next{after: backoffPermanent.delay(0, rnd), failures: 1}},
		{"self, persistent", ending{reason: handshake.ReasonSelf, byRemote: true, persistent: true}, next{after: backoffPermanent.delay(0, rnd), failures: 1}},
		{"no node of this kind", ending{reason: handshake.ReasonNotNebnet}, next{after: backoffLater.delay(0, rnd), failures: 1, forget: true}},
		{"not now, but once", ending{reason: handshake.ReasonNotNebnet, proven: true}, next{after: backoffLater.delay(0, rnd), failures: 1}},
		{"too many peers", ending{reason: handshake.ReasonTooManyPeers, byRemote: true}, next{after: backoffLater.delay(0, rnd), failures: 1}},
		{"banned", ending{reason: handshake.ReasonBanned}, next{after: backoffMuchLater.delay(0, rnd), failures: 1}},
		{"closed by the application", ending{reason: handshake.ReasonRequested, lived: time.Hour}, next{after: backoffPermanent.delay(0, rnd)}},
		{"closed by the application, persistent", ending{reason: handshake.ReasonRequested, lived: time.Hour, persistent: true}, next{after: backoffSoon.delay(0, rnd)}},
		{"closed by the other application", ending{reason: handshake.ReasonRequested, byRemote: true, lived: time.Hour},
			next{after: backoffLater.delay(0, rnd)}},
		{"lost, the peer had dialled", ending{reason: handshake.ReasonTransportLost, inbound: true, lived: time.Hour},
			next{after: yield + backoffOther.delay(0, rnd)}},
		{"unknown reason", ending{reason: 60000, persistent: true}, next{after: backoffSoon.delay(0, rnd), failures: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := redial(tt.e, rnd); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A thousand nodes that lose one boot node at one moment spread their return:
// no tenth of the time takes more than a fifth of them.
func TestNoHerd(t *testing.T) {
	for failures := range 8 {
		var tenths [10]int
		ceil := min(backoffSoon.max, backoffSoon.base<<failures)
		for range 1000 {
			n := redial(ending{reason: handshake.ReasonTransportLost, persistent: true, failures: failures}, rand.Float64())
			tenths[min(9, int(10*(n.after-backoffSoon.floor)/(ceil-backoffSoon.floor)))]++
		}
		for i, n := range tenths {
			if n > 200 {
				t.Errorf("after %d failures %d of 1000 come in tenth %d of %v", failures, n, i, ceil)
			}
		}
	}
}

func TestScore(t *testing.T) {
	t0 := time.Now()
	s := score{}.add(60, t0)
	if got := s.now(t0.Add(scoreHalfLife)); math.Abs(got-30) > 1e-9 {
		t.Errorf("after a half-life: %v", got)
	}
	if s = s.add(50, t0.Add(scoreHalfLife)); math.Abs(s.value-80) > 1e-9 {
		t.Errorf("sum %v, want 80", s.value)
	}
	if got := s.now(t0); got != s.value {
		t.Errorf("an earlier time gives %v", got)
	}
	for _, w := range []float64{-1000, math.NaN(), math.Inf(-1)} {
		if got := s.add(w, s.at); got.value != s.value {
			t.Errorf("weight %v gives %v", w, got.value)
		}
	}
	if got := s.add(math.Inf(1), s.at); got.value != 2*BanScore {
		t.Errorf("infinite weight gives %v", got.value)
	}
}

func TestNeighbourhoods(t *testing.T) {
	for in, want := range map[string][2]string{
		"192.0.2.77":          {"192.0.2.77/32", "192.0.2.0/24"},
		"::ffff:192.0.2.77":   {"192.0.2.77/32", "192.0.2.0/24"},
		"2001:db8:1:2:3::4":   {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"fe80::1:2:3:4%eth0":  {"fe80::/64", "fe80::/48"},
		"2001:db8:1:2:ff::99": {"2001:db8:1:2::/64", "2001:db8:1::/48"},
	} {
		one, many := neighbourhoods(netip.MustParseAddr(in))
		if one.String() != want[0] || many.String() != want[1] {
			t.Errorf("%s: %v and %v, want %v", in, one, many, want)
		}
	}
}

func TestBounded(t *testing.T) {
	b := newBounded[int](100, func(a, b int) bool { return a < b })
	for i := range 10_000 {
		b.put(i, i)
		if len(b.m) > 100 {
			t.Fatalf("%d entries", len(b.m))
		}
	}
	b.put(9999, 5) // there already: nobody has to go
	if len(b.m) != 100 {
		t.Errorf("%d entries", len(b.m))
	}
	// The least of a sample goes, so that what is left is mostly the greatest.
	high := 0
	for _, v := range b.m {
		if v > 5000 {
			high++
		}
	}
	if high < 90 {
		t.Errorf("only %d of 100 entries are from the greater half", high)
	}
	b.sweep(func(int) bool { return true })
	if len(b.m) != 0 {
		t.Error("sweep left something")
	}
}
