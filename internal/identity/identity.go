package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// Option changes how Load judges a key file.
type Option func(*options)

type options struct{ allowInsecure bool }

// AllowInsecure makes Load follow a symbolic link and accept a file that other
// users may read. The content is checked as always.
func AllowInsecure() Option { return func(o *options) { o.allowInsecure = true } }

// Ephemeral returns a new key that lives in memory only.
func Ephemeral() (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate identity: %w", err)
	}
	return key, nil
}

// Load returns the key in the file at path. When nothing is there, it makes a
// key, and the directory if need be (0700), and returns only once the file is
// safely on disk with mode 0600. Processes that start at once end up with the
// same key.
//
// Anything else than a whole Ed25519 key in a private regular file is an error
// that matches one of this package's errors and names the path; the file is
// left as it is.
func Load(path string, opts ...Option) (crypto.PrivKey, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	// Twice at most: when another process wins the race to create the file,
	// its key is the one to load.
	for range 2 {
		key, err := read(path, o)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("load identity %s: %w", path, err)
		}
		key, err = create(path)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create identity %s: %w", path, err)
		}
	}
	// The name exists, yet opening it finds nothing: a dangling link.
	return nil, fmt.Errorf("load identity %s: %w to nothing", path, ErrSymlink)
}

func read(path string, o options) (crypto.PrivKey, error) {
	f, err := open(path, o.allowInsecure)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The open file is judged, not the path: nobody can swap it in between.
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrNotRegular, st.Mode())
	}
	if checkMode && !o.allowInsecure && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: mode %04o", ErrPermissions, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(fileSize)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > fileSize {
		return nil, fmt.Errorf("%w: length %d, want %d", longErr(b), st.Size(), fileSize)
	}
	return decode(b)
}

// longErr tells a longer key of another type from a damaged one.
func longErr(b []byte) error {
	if _, err := decode(b); errors.Is(err, ErrKeyType) {
		return ErrKeyType
	}
	return ErrCorrupt
}

// removeQuietly drops a temporary file; there is nobody to tell when it fails.
func removeQuietly(path string) { _ = os.Remove(path) }
