// Package multistream has what the opener of a stream says in multistream-select 1.0
// (github.com/multiformats/multistream-select), for those who do not wait for the answer:
// they send it together with their first data.
//
// go-multistream's own lazy connection does the same with a goroutine for each stream,
// and does not tell how much of the first data was written.
package multistream

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// Lines are the two lines of the opener, which the other side repeats: the protocol that
// chooses protocols, and the one that is chosen.
func Lines(id protocol.ID) []byte {
	b := make([]byte, 0, len(multistream.ProtocolID)+len(id)+6) // a length has at most two bytes, and each line its end
	for _, line := range []string{multistream.ProtocolID, string(id)} {
		b = binary.AppendUvarint(b, uint64(len(line)+1))
		b = append(append(b, line...), '\n')
	}
	return b
}
