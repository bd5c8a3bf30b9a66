package handshake

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// networkTag separates this use of SHA-256 from every other.
const networkTag = "nebnet/network/1"

// NetworkID names a network: the first 8 bytes of SHA-256 over a tag, the
// chain ID and the genesis hash, each after its length, as 16 hex digits. It
// is part of every protocol ID, so that nodes of two networks have no protocol
// in common but the one that tells them so.
func NetworkID(chainID string, genesis []byte) string {
	b := make([]byte, 0, len(networkTag)+len(chainID)+len(genesis)+3*binary.MaxVarintLen64)
	for _, part := range []string{networkTag, chainID, string(genesis)} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// ProtocolAny is the hello protocol without a network: nodes of different
// networks meet on it and learn from the answer why they part.
const ProtocolAny protocol.ID = "/neb/hello/1.0.0"

// Protocols are the hello protocols of a network in the order in which an
// opener proposes them. An answerer handles both.
func Protocols(network string) []protocol.ID {
	return []protocol.ID{protocol.ID("/neb/" + network + "/hello/1.0.0"), ProtocolAny}
}
