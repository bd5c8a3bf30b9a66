package dispatcher

import (
	"fmt"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// MaxTypeLen is the most bytes of a message type's name.
const MaxTypeLen = msgtype.MaxName

// ValidType returns nil if name may name a message type: 1 to MaxTypeLen bytes
// of [A-Za-z0-9._-]. Otherwise the error matches ErrInvalidType.
func ValidType(name string) error {
	if err := msgtype.CheckName(name); err != nil {
		return fmt.Errorf("%w: %.80q %w", ErrInvalidType, name, err)
	}
	return nil
}
