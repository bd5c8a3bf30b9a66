package gossip

import (
	"context"
	"fmt"
	"testing"
	"time"
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
