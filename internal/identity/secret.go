package identity

import (
	"fmt"
	"io"
)

// ReadSecret reads a file of at most max bytes that nobody but this user may see or
// change: a regular file, no link, of this user or root, without rights for others.
// A named pipe is an error and not waited for. Errors match those of this package
// and name the path.
func ReadSecret(path string, max int, opts ...Option) ([]byte, error) {
	b, err := readFile(path, max, newOptions(opts))
	if err == nil && len(b) > max {
		err = fmt.Errorf("it has more than %d bytes", max)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// readFile judges a file and reads it, up to one byte more than max.

func readFile(path string, max int, o options) ([]byte, error) {
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
	if checkMode && !o.allowInsecure {
		if st.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%w: mode %04o", ErrPermissions, st.Mode().Perm())
		}
		if id, ours := owner(st); !ours {
			return nil, fmt.Errorf("%w: user %d", ErrOwner, id)
		}
	}
	return io.ReadAll(io.LimitReader(f, int64(max)+1))
}
