package stream

import (
	"testing"

	"github.com/libp2p/go-libp2p/p2p/security/noise"
)

func TestFrameFitsNoiseAndLoopback(t *testing.T) {
	const (
		yamuxHeader = 12
		ipv6        = 40
		tcp         = 20 + 12 // with timestamps
	)
	message := frameSize + yamuxHeader
	if message > noise.MaxPlaintextLength {
		t.Errorf("a frame of %d bytes makes two Noise messages", frameSize)
	}
	tag := noise.MaxTransportMsgLength - noise.MaxPlaintextLength
	if segment := noise.LengthPrefixLength + message + tag; segment != 64<<10-ipv6-tcp {
		t.Errorf("a frame of %d bytes makes a segment of %d", frameSize, segment)
	}
}
