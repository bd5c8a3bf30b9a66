package p2p

import (
	"context"
	"strings"
	"testing"
)

// Such a name works on the wire, with the answer waited for and without.
func TestLongProtocolNames(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		for _, size := range []int{126, 127, 128, maxProtocolName} {
			name := Prefix + strings.Repeat("a", size-len(Prefix))
			if _, err := serve.NewListener(t.Context(), name, echoService(t)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				c, err := dial.DialConn(ctx, serve.self, name)
				cancel()
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				mustEcho(t, c, "x")
				_ = c.Close()
			}
		}
	})
}
