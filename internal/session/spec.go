package session

import (
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Priority is the class of a message. Classes share a connection by weight
// (high 16, normal 4, low 1): a lower class is slowed down by a higher one,
// and never starved.
type Priority uint8

// The classes. The zero value stands for that of the message type, and in a
// TypeSpec for PriorityNormal.
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

// Defaults and bounds of a TypeSpec.
const (
	DefaultMaxSize       = 1 << 20
	DefaultCompressAbove = 1 << 10
	DefaultTypeQueue     = 4 << 20
	// MaxMessageSize is the most that TypeSpec.MaxSize may allow.
	MaxMessageSize = 1 << 30
	// MaxTypeName is the most bytes of a type's name.
	MaxTypeName = 128
)

// TypeSpec declares a message type.
type TypeSpec struct {
	// Name is required: 1 to 128 visible ASCII characters except '/'.
	Name string
	// MaxSize is the most bytes of a payload, sent or received, before
	// compression. Default 1 MiB, at most 1 GiB.
	MaxSize int
	// Priority is that of messages which do not say otherwise. Default normal.
	Priority Priority
	// Compress is how payloads above CompressAbove bytes are compressed.
	// Default s2.
	Compress Compression
	// CompressAbove is a number of bytes; default 1 KiB. Whatever does not
	// shrink goes out as it is.
	CompressAbove int
	// QueueBytes bounds what is queued of this type for one peer, frames
	// included. Default 4 MiB, or room for one message of MaxSize if that is
	// more. An empty queue takes any single message.
	QueueBytes int
	// SendOnly leaves peers that send the type unheard, until Engine.Accept.
	SendOnly bool
}

func (t TypeSpec) withDefaults() TypeSpec {
	if t.MaxSize == 0 {
		t.MaxSize = DefaultMaxSize
	}
	if t.Priority == PriorityDefault {
		t.Priority = PriorityNormal
	}
	if t.CompressAbove == 0 {
		t.CompressAbove = DefaultCompressAbove
	}
	if t.QueueBytes == 0 {
		t.QueueBytes = DefaultTypeQueue
	}
	t.QueueBytes = max(t.QueueBytes, t.MaxSize+maxHeader)
	return t
}

func (t TypeSpec) validate() error {
	var bad []string
	if !validName(t.Name) {
		bad = append(bad, fmt.Sprintf("Name %q: want 1 to %d visible ASCII characters without '/'", t.Name, MaxTypeName))
	}
	if t.MaxSize < 0 || t.MaxSize > MaxMessageSize {
		bad = append(bad, fmt.Sprintf("MaxSize %d: want 1 to %d", t.MaxSize, MaxMessageSize))
	}
	if t.Priority > PriorityLow {
		bad = append(bad, fmt.Sprintf("Priority %d: unknown", t.Priority))
	}
	if t.Compress > CompressNone {
		bad = append(bad, fmt.Sprintf("Compress %d: unknown", t.Compress))
	}
	if t.CompressAbove < 0 {
		bad = append(bad, fmt.Sprintf("CompressAbove %d: negative", t.CompressAbove))
	}
	if t.QueueBytes < 0 {
		bad = append(bad, fmt.Sprintf("QueueBytes %d: negative", t.QueueBytes))
	}
	if bad != nil {
		return &TypeError{Name: t.Name, Problems: strings.Join(bad, "; ")}
	}
	return nil
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > MaxTypeName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}

// Protocol is the libp2p protocol ID under which messages of a type travel.
func Protocol(network, msgType string) protocol.ID {
	return protocol.ID("/neb/" + network + "/msg/" + msgType + "/1.0.0")
}
