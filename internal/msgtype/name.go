package msgtype

import (
	"errors"
	"fmt"
)

// MaxName is the most bytes of a name.
const MaxName = 64

// ErrName is what the name of a type or method is that breaks the rule.
var ErrName = errors.New("want 1 to 64 letters, digits, dots, dashes and underscores")

// CheckName tells whether a name is one that a message type, or a method of
// requests, may have: 1 to 64 of the letters a to z and A to Z, digits, dot, dash
// and underscore. Names end names of metrics and topics and stand in logs, so
// nothing else is let in. The error matches ErrName.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("has %d bytes: %w", len(name), ErrName)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("has byte %#02x at %d: %w", name[i], i, ErrName)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '-' || c == '_'
}
