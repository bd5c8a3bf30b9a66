package stream

import (
	"strings"

	"github.com/libp2p/go-libp2p/core/network"
)

// transportKind is how streams of a connection behave where transports differ.
type transportKind uint8

const (
	otherStream transportKind = iota
	yamuxStream
	quicStream // QUIC, and WebTransport over it
)

func kindOf(s network.Stream) transportKind {
	state := s.Conn().ConnState()
	switch {
	case strings.HasPrefix(string(state.StreamMultiplexer), "/yamux/"):
		return yamuxStream
	case strings.Contains(state.Transport, "quic"), state.Transport == "webtransport":
		return quicStream
	}
	return otherStream
}

// Sizes of what is written to a yamux stream at a time. One write becomes one
// yamux frame, and with the frame's header of 12 bytes one write to the encrypted
// connection.
const (
	yamuxHeader = 12

	// With TLS a frame fills three records of 16 KiB, each of which is written to
	// the socket by itself. Four records let less work go on beside each other.
	tlsFrame = 3*(16<<10) - yamuxHeader

	// With Noise a frame is one message, of 2 bytes of length, and 16 of
	// authentication, and one write to the socket. The largest segment that
	// Linux's loopback interface takes is 65,464 bytes with IPv6: a little more,
	// which Noise could still hold, would make a second segment of a few bytes for
	// every frame.
	noiseFrame = 65464 - yamuxHeader - 2 - 16
)

// frameOf is how much should be written to a stream at a time.
func frameOf(s network.Stream, kind transportKind) int {
	switch {
	case kind != yamuxStream:
		return frameSize
	case strings.HasPrefix(string(s.Conn().ConnState().Security), "/tls/"):
		return tlsFrame
	}
	return noiseFrame
}

// deadlinesAreSafe reports whether a read that hits its deadline loses nothing.
func (k transportKind) deadlinesAreSafe() bool { return k == quicStream }
