package gossip

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
)

// Of more turned-away messages than are remembered, the rest is counted.
func TestForgottenMessagesAreCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(nil)
		sub.e.byType("tx").away.limit = 3
		sub.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
		for i := range 10 {
			pub.publish(t, fmt.Sprint(i))
		}
		time.Sleep(200 * time.Millisecond)
		sub.box.setRefuse(nil)
		settle()
		if s := sub.tx(); s.Forgotten != 7 || s.Delivered != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// A copy that is turned away too does not make the others who have the message
// forgotten: when the one that was asked is gone, another is.
func TestHoldersOutliveASecondTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		first, second := w.raw(n), w.raw(n)
		n.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
		const data = "precious"
		id := ContentID(reachTopic, []byte(data), "", nil)
		first.say(data)
		time.Sleep(200 * time.Millisecond)
		second.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: new(reachTopic), MessageIDs: []string{id}}}})
		time.Sleep(200 * time.Millisecond)
		first.say(data)
		time.Sleep(200 * time.Millisecond)
		if s := n.tx(); s.Away[awayFull] != 2 {
			t.Fatalf("%+v", s)
		}
		must(t, first.h.Close())
		n.box.setRefuse(nil)
		second.drain()
		settle()
		for _, rpc := range second.drain() {
			for _, want := range rpc.GetControl().GetIwant() {
				if slices.Contains(want.GetMessageIDs(), id) {
					second.say(data)
				}
			}
		}
		settle()
		wantOnce(t, []*node{n}, data)
	})
}

// While a copy is judged the message is not asked for, and who else has it is
// noted.
func TestHeldMessages(t *testing.T) {
	at := time.Now()
	later := at.Add(askAfter)
	a := newAway(2, metrics.NewCounter())
	a.add("id", noSum(), at, "p", "q")
	if !a.hold("id", noSum) || a.hold("id", noSum) {
		t.Fatal("want it held once")
	}
	a.announced("r", []string{"id"})
	if len(a.due(9, later, time.Minute)) != 0 || len(a.ask([]string{"id"}, 9, later)) != 0 {
		t.Error("asked for while it is held")
	}
	a.add("id", noSum(), at, "p") // turned away again
	a.release("id")
	if got, want := a.holders("id"), []peer.ID{"p", "q", "r"}; !slices.Equal(got, want) {
		t.Errorf("%q have it, want %q", got, want)
	}
	if len(a.due(9, later, time.Minute)["p"]) != 1 {
		t.Error("not asked for")
	}
	if !a.hold("id", noSum) {
		t.Error("not held a second time")
	}
	if a.release("id"); a.n.Load() != 0 || a.holders("id") != nil {
		t.Error("released, and still there")
	}
}

// What was missed before validation and is then turned away keeps its holders.
func TestHoldersOfAMissedMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(nil)
		sub.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
		tx := sub.e.byType("tx")
		id := ContentID(reachTopic, []byte("missed"), "", nil)
		tx.missed.add(id, noSum(), time.Now(), "p")
		pub.publish(t, "missed")
		time.Sleep(200 * time.Millisecond)
		if got := tx.away.holders(id); !slices.Contains(got, "p") || !slices.Contains(got, pub.h.ID()) {
			t.Errorf("%q have it", got)
		}
		if tx.missed.n.Load() != 0 {
			t.Error("still missed")
		}
	})
}
