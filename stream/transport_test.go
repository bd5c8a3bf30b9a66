package stream

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// stateStream is a stream of a connection in a given state.
type stateStream struct {
	network.Stream
	conn stateConn
}

func (s stateStream) Conn() network.Conn { return s.conn }

type stateConn struct {
	network.Conn
	state network.ConnectionState
}

func (c stateConn) ConnState() network.ConnectionState { return c.state }

func TestFrames(t *testing.T) {
	const record = 16 << 10 // RFC 8446, section 5.1
	for _, tc := range []struct {
		name  string
		state network.ConnectionState
		check func(frame int) bool
	}{
		{"noise", network.ConnectionState{StreamMultiplexer: yamux.ID, Security: noise.ID}, func(n int) bool {
			message := n + yamuxHeader
			segment := message + noise.LengthPrefixLength + noise.MaxTransportMsgLength - noise.MaxPlaintextLength
			return message <= noise.MaxPlaintextLength && segment == 64<<10-(40+20+12)
		}},
		{"tls", network.ConnectionState{StreamMultiplexer: yamux.ID, Security: libp2ptls.ID}, func(n int) bool {
			return (n+yamuxHeader)%record == 0
		}},
		{"quic", network.ConnectionState{Transport: "quic-v1"}, func(n int) bool { return n == frameSize }},
	} {
		s := stateStream{conn: stateConn{state: tc.state}}
		if n := frameOf(s, kindOf(s)); !tc.check(n) || n > frameSize {
			t.Errorf("%s: frames of %d bytes", tc.name, n)
		}
	}
}
