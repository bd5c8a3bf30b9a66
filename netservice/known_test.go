package netservice

import (
	"fmt"
	"testing"
)

func TestKnown(t *testing.T) {
	k := newKnown()
	a := k.key("t", []byte("x"))
	if k.key("tx", nil) == k.key("t", []byte("x")) {
		t.Error("type and payload are not told apart")
	}
	if k.mark("p", a) || k.mark("p", a) {
		t.Error("a peer that never joined is known to have something")
	}
	k.join("p")
	k.join("q")
	if k.mark("p", a) || !k.mark("p", a) || k.mark("q", a) {
		t.Error("marks are wrong")
	}
	k.unmark("p", a)
	if k.mark("p", a) {
		t.Error("an undone mark is still there")
	}
	k.forget("p")
	if k.mark("p", a) || len(k.peers) != 1 {
		t.Error("a forgotten peer is remembered")
	}
}

// However much a peer sends, what is remembered of it stays bounded, and the
// newest is never forgotten.
func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	k.join("p")
	for i := range 5 * knownPerPeer {
		key := k.key("t", fmt.Append(nil, i))
		k.mark("p", key)
		if !k.mark("p", key) {
			t.Fatalf("message %d was forgotten at once", i)
		}
	}
	g := k.peers["p"]
	if n := len(g.now) + len(g.old); n > 2*knownPerPeer {
		t.Errorf("%d messages are remembered", n)
	}
}
