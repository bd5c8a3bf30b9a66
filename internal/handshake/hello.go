package handshake

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Bounds of a hello, in bytes where nothing else is said. One that exceeds
// them is a protocol error.
const (
	MaxChainID      = 128
	MaxGenesis      = 64
	MaxAgent        = obs.MaxRemoteText
	MaxCapabilities = 32 // number
	MaxCapability   = 64
	MaxPayload      = 16 << 10
)

// Hello is what a node says of itself.
type Hello struct {
	// VersionMin and VersionMax are the protocol versions it speaks, both
	// included, from 1 on.
	VersionMin, VersionMax uint32
	// ChainID and Genesis say which chain it is on. ChainID of a remote hello
	// may hold any UTF-8: clean it before showing it.
	ChainID string
	Genesis []byte
	// Agent names the program and its version. That of a remote hello has been
	// cleaned and can be shown as it is.
	Agent string
	// Capabilities are optional abilities, each 1 to 64 visible ASCII
	// characters. Unknown ones mean nothing.
	Capabilities []string
	// Instance is a random number that a node draws at each start. A peer that
	// says hello with another one has been restarted. Zero tells nothing.
	Instance uint64
	// Payload belongs to the application: best block, say.
	Payload []byte
}

// Validate reports everything in the hello that the wire format does not
// allow.
func (h Hello) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if h.VersionMin < 1 || h.VersionMin > h.VersionMax {
		bad("versions %d to %d are no range from 1 on", h.VersionMin, h.VersionMax)
	}
	if len(h.ChainID) > MaxChainID {
		bad("chain ID of %d bytes exceeds %d", len(h.ChainID), MaxChainID)
	}
	if !utf8.ValidString(h.ChainID) {
		bad("chain ID is not UTF-8")
	}
	if len(h.Genesis) > MaxGenesis {
		bad("genesis of %d bytes exceeds %d", len(h.Genesis), MaxGenesis)
	}
	if len(h.Agent) > MaxAgent {
		bad("agent of %d bytes exceeds %d", len(h.Agent), MaxAgent)
	}
	if len(h.Capabilities) > MaxCapabilities {
		bad("%d capabilities exceed %d", len(h.Capabilities), MaxCapabilities)
	}
	for i, c := range h.Capabilities {
		if err := ValidCapability(c); err != nil {
			bad("capability %d: %w", i, err)
		}
	}
	if len(h.Payload) > MaxPayload {
		bad("payload of %d bytes exceeds %d", len(h.Payload), MaxPayload)
	}
	return errors.Join(errs...)
}

// ValidCapability tells what the wire format has against a capability.
func ValidCapability(c string) error {
	if len(c) == 0 || len(c) > MaxCapability {
		return fmt.Errorf("has %d bytes, not 1 to %d", len(c), MaxCapability)
	}
	for i := range len(c) {
		if c[i] <= ' ' || c[i] > '~' {
			return errors.New("has a character that is not visible ASCII")
		}
	}
	return nil
}
