package identity

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// create makes a key and its file. The file appears under its name whole and
// synced, or not at all; fs.ErrExist means that another one was faster. Without the
// sync of the content a loss of power may leave the name and no key; without that of
// the directory the key of a node that others know already may be gone.
func create(path string, sync func(*os.File) error) (crypto.PrivKey, error) {
	key, err := Ephemeral()
	if err != nil {
		return nil, err
	}
	b, err := encode(key)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, "."+filepath.Base(path)+"."+rand.Text()+".tmp")
	if err := writeSynced(tmp, b, sync); err != nil {
		removeQuietly(tmp)
		return nil, err
	}
	defer removeQuietly(tmp)
	if err := publish(tmp, path); err != nil {
		return nil, err
	}
	return key, syncDir(dir, sync)
}

func writeSynced(path string, b []byte, sync func(*os.File) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil { // the umask may have taken bits away
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return sync(f)
}

// publish gives the finished file its name. A hard link never replaces what is
// there; where the file system has none, a rename after a look must do, and
// two first starts at the very same instant are then not told apart.
func publish(tmp, path string) error {
	err := os.Link(tmp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, statErr := os.Lstat(path); statErr == nil {
		return fs.ErrExist
	} else if !errors.Is(statErr, fs.ErrNotExist) {
		return errors.Join(err, statErr)
	}
	return os.Rename(tmp, path)
}
