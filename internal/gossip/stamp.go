package gossip

import (
	"encoding/binary"
	"time"
)

// stampLen is what a type declared Timed adds to each message: the time of
// publication in nanoseconds since 1970, big endian.
const stampLen = 8

func putStamp(now time.Time, data []byte) []byte {
	b := make([]byte, stampLen, stampLen+len(data))
	binary.BigEndian.PutUint64(b, uint64(now.UnixNano()))
	return append(b, data...)
}

// openStamp splits a stamped message. It fails if the message is too short.
func openStamp(b []byte) (at time.Time, data []byte, ok bool) {
	if len(b) < stampLen {
		return time.Time{}, nil, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), b[stampLen:], true
}

// delayMicros is how long a message took, for a histogram: never negative,
// and at most an hour, since the publisher's clock may be wrong.
func delayMicros(at, now time.Time) int64 {
	return min(max(now.Sub(at), 0), time.Hour).Microseconds()
}
