package discovery

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// endings are the ways in which a stream ends inside a frame though nobody broke
// a rule.
var endings = map[string]func(network.Stream){
	"the connection is closed": func(s network.Stream) { s.Conn().Close() },
	"with a reason":            func(s network.Stream) { s.Conn().CloseWithError(network.ConnShutdown) },
	"the stream is reset":      func(s network.Stream) { s.Reset() },
}

func TestCutReplies(t *testing.T) {
	frame := appendFrame(nil, encodeReply([][]byte{signed(t, 1, "/ip4/5.9.1.1/tcp/4001")}))
	for name, end := range endings {
		for _, sent := range []int{0, 1, 20, len(frame) - 1} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n, _ := pair(t, setup{want: 100}, func(h host.Host) {
						h.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
							io.ReadAll(s)
							s.Write(frame[:sent])
							time.Sleep(10 * time.Millisecond)
							end(s)
						})
					})
					time.Sleep(100 * time.Millisecond)
					if _, faults := n.told(); len(faults) != 0 {
						t.Errorf("after %d bytes: faults %v", sent, faults)
					}
					if got := n.count(obs.ExchangeFailed); got != 1 {
						t.Errorf("after %d bytes: %d asks failed, want 1", sent, got)
					}
				})
			})
		}
	}
}

func TestCutRequests(t *testing.T) {
	frame := appendFrame(nil, encodeRequest(100))
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, h := pair(t, setup{}, nil)
				s, err := h.NewStream(t.Context(), n.ID(), Protocol(testNetwork))
				if err != nil {
					t.Fatal(err)
				}
				s.Write(frame[:len(frame)-1])
				time.Sleep(10 * time.Millisecond)
				end(s)
				time.Sleep(100 * time.Millisecond)
				if _, faults := n.told(); len(faults) != 0 {
					t.Errorf("faults %v", faults)
				}
			})
		})
	}
}
