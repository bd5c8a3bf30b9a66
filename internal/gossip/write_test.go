package gossip

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// writers is how many goroutines of a node write, or wait for something to write.
func (n *node) writers() (running int) {
	n.e.mu.Lock()
	defer n.e.mu.Unlock()
	for _, r := range n.e.peers {
		r.out.mu.Lock()
		if r.out.running {
			running++
		}
		r.out.mu.Unlock()
	}
	return running
}

// A stream has a goroutine that writes for as long as there is something to write in each
// heartbeat, and none when there was nothing for two.
func TestWriterRests(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, nil)
		w.full(ns)
		settle()
		synctest.Wait()
		if k := ns[0].writers(); k != 0 {
			t.Fatalf("%d writers of a node that has nothing to say", k)
		}
		for i := range 10 {
			ns[0].publish(t, fmt.Sprint("message ", i))
			time.Sleep(ns[0].e.cfg.Params.Heartbeat * 3 / 4)
			synctest.Wait()
			if k := ns[0].writers(); k != 1 {
				t.Fatalf("%d writers after message %d", k, i)
			}
		}
		time.Sleep(2 * ns[0].e.cfg.Params.Heartbeat)
		synctest.Wait()
		if k := ns[0].writers(); k != 0 {
			t.Errorf("%d writers after two heartbeats", k)
		}
		ns[0].publish(t, "again")
		time.Sleep(time.Second)
		wantOnce(t, ns[1:], "again")
		for i := range 10 {
			wantOnce(t, ns[1:], fmt.Sprint("message ", i))
		}
	})
}
