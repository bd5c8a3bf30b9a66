//go:build unix

package identity

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// checkMode: permission bits mean what they say on Unix.
const checkMode = true

// owner tells whose file it is, and whether that user may replace the keys of this
// one: root may in any case.
func owner(st fs.FileInfo) (id int, ours bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, true
	}
	id = int(sys.Uid)
	return id, id == os.Geteuid() || id == 0
}

// open opens the key file for reading. O_NOFOLLOW refuses a link in the last
// element of the path; O_NONBLOCK keeps a named pipe from hanging the start.
func open(path string, follow bool) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	if !follow {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EOPNOTSUPP) { // a socket
		return nil, ErrNotRegular
	}
	// The code for a link differs between systems: ask what is there.
	if st, statErr := os.Lstat(path); !follow && statErr == nil && st.Mode()&fs.ModeSymlink != 0 {
		return nil, ErrSymlink
	}
	return nil, err
}

// syncDir makes the new name durable.
func syncDir(dir string, sync func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = sync(d)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // some file systems have no such thing as a directory to sync
	}
	return errors.Join(err, d.Close())
}
