package session

import "github.com/libp2p/go-libp2p/core/protocol"

// Protocol is the libp2p protocol ID of message streams.
func Protocol(network string) protocol.ID {
	return protocol.ID("/neb/" + network + "/msg/2.0.0")
}
