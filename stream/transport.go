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

// deadlinesAreSafe reports whether a read that hits its deadline loses nothing.
func (k transportKind) deadlinesAreSafe() bool { return k == quicStream }
