package dispatcher

import "fmt"

// MaxTypeLen is the most bytes of a message type's name.
const MaxTypeLen = 64

// ValidType returns nil if name may name a message type: 1 to MaxTypeLen bytes
// of [A-Za-z0-9._-]. Otherwise the error matches ErrInvalidType.
//
// The name becomes part of protocol IDs and metric names, so nothing that
// could be taken for a separator is allowed.
func ValidType(name string) error {
	if name == "" {
		return fmt.Errorf("%w: empty", ErrInvalidType)
	}
	if len(name) > MaxTypeLen {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrInvalidType, len(name), MaxTypeLen)
	}
	for i := range len(name) {
		if !typeByte(name[i]) {
			return fmt.Errorf("%w: byte %#02x at %d", ErrInvalidType, name[i], i)
		}
	}
	return nil
}

func typeByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-'
}
