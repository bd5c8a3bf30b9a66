package book

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File keeps a book in a file, with mode 0600. What is under its name is always
// a whole one: the new is written beside it, synced, and renamed over it. A crash
// or a full disk leaves the old one.
type File string

// Load returns what was saved last, nil when nothing was.
func (f File) Load() ([]byte, error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load address book: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("load address book: %w", err)
	}
	return raw, nil
}

// Save replaces what was saved.
func (f File) Save(raw []byte) error {
	// One name for all attempts: those that a crash cut short leave one file.
	tmp := string(f) + ".tmp"
	err := write(tmp, raw)
	if err == nil {
		err = os.Rename(tmp, string(f))
	}
	if err != nil {
		_ = os.Remove(tmp) // the first error tells more
		return fmt.Errorf("save address book: %w", err)
	}
	return syncDir(filepath.Dir(string(f)))
}

// SetAside moves a file that cannot be read out of the way, to NAME.corrupt, and
// returns where it is.
func (f File) SetAside() (string, error) {
	aside := string(f) + ".corrupt"
	return aside, os.Rename(string(f), aside)
}

func write(path string, raw []byte) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(raw); err != nil {
		return err
	}
	return file.Sync()
}

// syncDir makes the rename last. Where directories cannot be synced, such as on
// Windows, the file system has its own way.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("save address book: %w", err)
	}
	return nil
}
