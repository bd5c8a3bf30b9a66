package netservice_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// A message from the wire to its handler passes three goroutines and two queues:
// the reader of its stream, the dispatcher's loop and the handler's own goroutine;
// the queue of the type and that of the subscriber. Behind a handler that blocks,
// no more of them come into being, and no more is taken from the wire than the two
// queues hold.
func TestMessagesPassThreeGoroutinesAndTwoQueues(t *testing.T) {
	const queue, extra = 8, 2 // one with the handler, one with the reader
	besiege(t, func(c *netservice.Config) { c.DispatchQueue = queue }, func(t *testing.T, s *siege) {
		a := s.session()
		a.identified()
		walk := netservice.Declare("walk", netservice.Raw())
		synctest.Wait()
		before := ours()
		block := make(chan struct{})
		defer close(block)
		if _, err := walk.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) { <-block },
			dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(queue)); err != nil {
			t.Fatal(err)
		}
		st := a.open("walk")
		for range 10 * queue {
			st.Write(frame(1, plain, 'x'))
			time.Sleep(50 * time.Millisecond) // one by one, so that the reader holds one
		}
		synctest.Wait()
		const loop = 1
		var more []string
		for id, stack := range ours() {
			if before[id] == "" {
				more = append(more, stack)
			}
		}
		if loop+len(more) > 3 {
			t.Errorf("besides the loop, these goroutines are on the way:\n%s", strings.Join(more, "\n\n"))
		}
		taken := s.victim.Stats().Peers[a.ID().String()].Receive.Messages
		if taken > 2*queue+extra || taken < queue {
			t.Errorf("%d messages are under way, two queues hold %d", taken, 2*queue)
		}
	})
}

// ours are the goroutines that run code of the service, by their IDs.
func ours() map[string]string {
	buf := make([]byte, 8<<20)
	all := make(map[string]string)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		head, stack, _ := strings.Cut(g, "\n")
		for _, pkg := range []string{"/nebnet/dispatcher.", "/nebnet/internal/session.", "/nebnet/netservice.("} {
			if strings.Contains(stack, pkg) {
				id, _, _ := strings.Cut(head, " [")
				all[id] = stack
			}
		}
	}
	return all
}
