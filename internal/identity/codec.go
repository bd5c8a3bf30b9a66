package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
)

// header is the protobuf framing of libp2p's PrivateKey message for Ed25519:
// field 1 (type) = 1, field 2 (data), 64 bytes: seed and public key.
const header = "\x08\x01\x12\x40"

// oldHeader is that of libp2p before 2019, which repeated the public key.
const oldHeader = "\x08\x01\x12\x60"

const (
	fileSize    = len(header) + ed25519.PrivateKeySize
	oldFileSize = len(oldHeader) + ed25519.PrivateKeySize + ed25519.PublicKeySize
	// maxFile is the older form in base64, in two lines.
	maxFile = (oldFileSize+2)/3*4 + 2*len("\r\n")
)

// decode takes libp2p's private key message, as it is or in base64, as programs keep
// it in text files. It is stricter than libp2p's decoder: the public half must
// follow from the private one, so that no flipped bit turns into another identity.
func decode(b []byte) (crypto.PrivKey, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrCorrupt)
	}
	if bytes.HasPrefix(b, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: PEM text, want libp2p's binary form", ErrKeyType)
	}
	if b[0] != header[0] {
		// What is too long has been cut, and its type is to be named all the same.
		if head, err := base64.StdEncoding.DecodeString(string(b[:min(len(b), 4)])); err == nil && len(head) == 3 {
			if err := otherType(head); err != nil {
				return nil, err
			}
		}
		// Strict: bits that mean nothing must not differ either. Ends of lines may stand
		// anywhere, as the tools break lines that do.
		raw, err := base64.StdEncoding.Strict().DecodeString(string(b))
		if err != nil || len(raw) == 0 || raw[0] != header[0] {
			return nil, fmt.Errorf("%w: unknown header", ErrCorrupt)
		}
		b = raw
	}
	return decodeMessage(b)
}

// otherType is an error that names the type of a key which is not Ed25519.
func otherType(b []byte) error {
	if len(b) >= 3 && b[0] == header[0] && b[1] != header[1] && b[1] <= 3 && b[2] == header[2] {
		return fmt.Errorf("%w: it is of type %s", ErrKeyType, pb.KeyType(b[1]))
	}
	return nil
}

func decodeMessage(b []byte) (crypto.PrivKey, error) {
	if err := otherType(b); err != nil {
		return nil, err
	}
	if len(b) == oldFileSize && string(b[:len(oldHeader)]) == oldHeader &&
		bytes.Equal(b[fileSize:], b[fileSize-ed25519.PublicKeySize:fileSize]) {
		b = append([]byte(header), b[len(oldHeader):fileSize]...)
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
