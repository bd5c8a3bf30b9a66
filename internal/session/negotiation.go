package session

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Protocol is the libp2p protocol ID of message streams.
func Protocol(network string) protocol.ID {
	return protocol.ID("/neb/" + network + "/msg/2.0.0")
}

// negotiation is how the opener of a message stream says what it is: the two
// lines of multistream-select 1.0 (github.com/multiformats/multistream-select),
// which the other side repeats. The peer is of this network, so there is nothing
// to wait for: the lines go out with the stream's header and its first data, in
// one write, and the answer is read when the stream ends. Who does not speak the
// protocol resets it.
//
// go-multistream's own lazy connection does the same with a goroutine for each
// stream, and does not tell how much of the first data was written.
func negotiation(id protocol.ID) []byte {
	var b []byte
	for _, line := range []string{"/multistream/1.0.0", string(id)} {
		b = binary.AppendUvarint(b, uint64(len(line)+1))
		b = append(append(b, line...), '\n')
	}
	return b
}
