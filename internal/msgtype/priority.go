package msgtype

import "fmt"

// Priority is the class of a message. Classes share a connection by weight
// (high 16, normal 4, low 1): a lower class is slowed down by a higher one,
// and never starved.
type Priority uint8

// The classes. The zero value stands for that of the message type, and in a
// Spec for PriorityNormal.
const (
	PriorityDefault Priority = iota
	PriorityHigh
	PriorityNormal
	PriorityLow
)

func (p Priority) String() string {
	switch p {
	case PriorityDefault:
		return "default"
	case PriorityHigh:
		return "high"
	case PriorityNormal:
		return "normal"
	case PriorityLow:
		return "low"
	}
	return fmt.Sprintf("priority %d", uint8(p))
}

// Compression is how payloads of a type are compressed. Receivers understand
// all of them, whatever they declare themselves.
type Compression uint8

const (
	// CompressS2 is fast; it is the default.
	CompressS2 Compression = iota
	// CompressZstd is several times slower and smaller.
	CompressZstd
	// CompressNone is for payloads that are compressed or random already.
	CompressNone
)

func (c Compression) String() string {
	switch c {
	case CompressS2:
		return "s2"
	case CompressZstd:
		return "zstd"
	case CompressNone:
		return "none"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}
