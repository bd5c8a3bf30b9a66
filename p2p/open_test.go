package p2p

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"
	msmux "github.com/multiformats/go-multistream"
)

// The opener's half of the negotiation is what go-multistream reads, also where
// the length of a name takes two bytes.
func TestMultistreamHeader(t *testing.T) {
	for _, size := range []int{1, 4, 63, 125, 126, 127, 128, 129, maxProtocolName} {
		name := protocol.ID(Prefix + strings.Repeat("a", max(size-len(Prefix), 0)))
		name = name[:size]
		r := bytes.NewReader(multistreamHeader(name))
		for _, want := range []protocol.ID{msmux.ProtocolID, name} {
			if got, err := msmux.ReadNextToken[protocol.ID](r); err != nil || got != want {
				t.Errorf("%d bytes: read %q, %v", size, got, err)
			}
		}
		if r.Len() != 0 {
			t.Errorf("%d bytes: %d too many", size, r.Len())
		}
	}
}

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
