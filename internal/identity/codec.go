package identity

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// fileSize is the exact length of a key file: header, seed, public key.
const fileSize = len(header) + ed25519.PrivateKeySize

// header is the protobuf framing of libp2p's PrivateKey message for Ed25519:
// field 1 (type) = 1, field 2 (data), 64 bytes.
const header = "\x08\x01\x12\x40"

// decode is stricter than libp2p's decoder: one encoding only, and the public
// half must follow from the private one, so that no flipped bit turns into
// another identity.
func decode(b []byte) (crypto.PrivKey, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrCorrupt)
	}
	if len(b) >= 3 && b[0] == header[0] && b[1] != header[1] && b[1] <= 3 && b[2] == header[2] {
		return nil, fmt.Errorf("%w: libp2p key type %d", ErrKeyType, b[1])
	}
	if bytes.HasPrefix(b, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: PEM text, want libp2p's binary form", ErrKeyType)
	}
	if len(b) != fileSize {
		return nil, fmt.Errorf("%w: length %d, want %d", ErrCorrupt, len(b), fileSize)
	}
	if string(b[:len(header)]) != header {
		return nil, fmt.Errorf("%w: unknown header", ErrCorrupt)
	}
	raw := b[len(header):]
	if !bytes.Equal(ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]), raw) {
		return nil, fmt.Errorf("%w: public and private half do not belong together", ErrCorrupt)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return key, nil
}

func encode(key crypto.PrivKey) ([]byte, error) {
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, err
	}
	// What is written must be readable again on the next start.
	if _, err := decode(b); err != nil {
		return nil, err
	}
	return b, nil
}
