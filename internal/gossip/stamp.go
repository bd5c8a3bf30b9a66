package gossip

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A stamp is what a type declared Timed adds in front of the data of a message. It
// can be told from data, so that nodes that have declared the type differently
// understand each other: four bytes that no other use gives it, the time of
// publication in nanoseconds since 1970, big endian, and the CRC-32C of that and
// of the data.
const stampLen = 16

var stampMagic = [4]byte{0xf5, 'n', 'e', 'b'} // begins no text and no protobuf

func putStamp(now time.Time, data []byte) []byte {
	b := append(make([]byte, 0, stampLen+len(data)), stampMagic[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, stampSum(b[4:12], data))
	return append(b, data...)
}

// openStamp splits a stamped message. It fails if there is no stamp.
func openStamp(b []byte) (at time.Time, data []byte, ok bool) {
	if len(b) < stampLen || [4]byte(b) != stampMagic {
		return time.Time{}, nil, false
	}
	if at, data = time.Unix(0, int64(binary.BigEndian.Uint64(b[4:]))), b[stampLen:]; binary.BigEndian.Uint32(b[12:]) != stampSum(b[4:12], data) {
		return time.Time{}, nil, false
	}
	return at, data, true
}

func stampSum(at, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // which is kept by the package
	return crc32.Update(crc32.Checksum(at, table), table, data)
}

// unstamped is the data of a message without its stamp, if it has one.
func unstamped(b []byte) []byte {
	if _, data, ok := openStamp(b); ok {
		return data
	}
	return b
}

// delayMicros is how long a message took, for a histogram: never negative,
// and at most an hour, since the publisher's clock may be wrong.
func delayMicros(at, now time.Time) int64 {
	return min(max(now.Sub(at), 0), time.Hour).Microseconds()
}
