package identity

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// Option changes how Load judges a key file.
type Option func(*options)

type options struct {
	allowInsecure bool
	sync          func(*os.File) error // replaced by tests alone
}

func newOptions(opts []Option) options {
	o := options{sync: (*os.File).Sync}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// AllowInsecure makes Load and ReadSecret follow a symbolic link and accept a file
// that other users own or may read. The content is checked as always.
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
	o := newOptions(opts)
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
		key, err = create(path, o.sync)
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
	b, err := readFile(path, maxFile, o)
	if err != nil {
		return nil, err
	}
	key, err := decode(b)
	if len(b) > maxFile && !errors.Is(err, ErrKeyType) { // it may be a longer key of another type
		return nil, fmt.Errorf("%w: more than %d bytes", ErrCorrupt, maxFile)
	}
	return key, err
}

// removeQuietly drops a temporary file; there is nobody to tell when it fails.
func removeQuietly(path string) { _ = os.Remove(path) }
