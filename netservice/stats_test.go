package netservice_test

import (
	"testing"

	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A broadcast that met no peer before Stop is accounted for after it.
func TestStatsAfterStop(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		s := a.Service()
		nw.Start()
		if err := text.Broadcast(t.Context(), s, []byte("is anybody there?")); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats().Gossip.Types["text"]; st.Queued != 1 || st.Unsent != 1 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}
