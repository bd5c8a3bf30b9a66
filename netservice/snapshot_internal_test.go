package netservice

import (
	"testing"
)

func TestDiffersInWords(t *testing.T) {
	for want, d := range map[string]TypeDifference{
		"tx: at most 1 bytes here, 2 there": {Type: "tx", Ours: TypeOffer{MaxSize: 1}, Theirs: TypeOffer{MaxSize: 2}},
		"tx: broadcast here only":           {Type: "tx", Theirs: TypeOffer{NoBroadcast: true}},
		"tx: broadcast there only, timed here only": {
			Type: "tx", Ours: TypeOffer{NoBroadcast: true, Timed: true},
		},
	} {
		if got := differs(d); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSubscriberNames(t *testing.T) {
	type secret struct{ Key string }
	for want, id := range map[string]any{"pool": "pool", "7": 7, "netservice.secret": &secret{"x"}} {
		if got := subscriberName(id); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
