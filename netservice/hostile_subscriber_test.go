package netservice_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 24: a subscriber that never comes back from its first message. What waits for it
// is bounded, whatever its policy; what is dropped is counted, and nothing is where
// nothing may be: then the sender waits. The sender's other types, and other peers, do
// not notice.
func TestHostileSubscriber(t *testing.T) {
	const queue, sent = 4, 200
	for policy, tc := range map[dispatcher.Policy]struct{ received, dropped uint64 }{
		dispatcher.DropNewest: {sent, sent - queue - 1},
		dispatcher.DropOldest: {sent, sent - queue - 1},
		dispatcher.Lossless:   {queue + 1, 0},
	} {
		t.Run(policy.String(), func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				tx := netservice.Declare("tx", netservice.Raw())
				stuck, handled := make(chan struct{}), make(chan string, sent)
				release := sync.OnceFunc(func() { close(stuck) })
				t.Cleanup(release)
				if _, err := tx.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) {
					handled <- string(m.Value)
					<-stuck
				}, dispatcher.WithPolicy(policy), dispatcher.WithQueue(queue)); err != nil {
					t.Fatal(err)
				}
				friend := s.friend(nil)
				send := func(word string) {
					t.Helper()
					if err := tx.Send(t.Context(), friend, s.victim.Node().ID(), []byte(word)); err != nil {
						t.Fatal(err)
					}
				}
				send("0")
				next(t, "first message", handled)
				for i := 1; i < sent; i++ {
					send(fmt.Sprint(i))
				}
				time.Sleep(30 * time.Second)
				d := s.victim.Stats().Dispatcher
				for _, sub := range d.Subscribers {
					if sub.Type == "tx" && (d.Types["tx"].Received != tc.received || sub.DroppedTotal() != tc.dropped || sub.Queued != queue) {
						t.Errorf("stats: %+v, %+v", d.Types["tx"], sub)
					}
				}
				if err := text.Send(t.Context(), friend, s.victim.Node().ID(), []byte("beside it")); err != nil {
					t.Fatal(err)
				}
				if got := next(t, "message of another type", s.texts); got != "beside it" {
					t.Errorf("got %q", got)
				}
				s.mustServe("meanwhile")
				release()
				time.Sleep(time.Minute)
				if n := uint64(len(handled)); n != sent-tc.dropped-1 || s.peers(friend.Node().ID()) != 1 {
					t.Errorf("%d more messages are handled, %d sessions with their sender", n, s.peers(friend.Node().ID()))
				}
			})
		})
	}
}
