package identity

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockName is the file in a data directory that its process has locked. It stays
// when the process ends: who removed it might remove that of the next one.
const lockName = "node.lock"

var errTaken = errors.New("taken")

// LockedError tells that another service has the directory: two with one identity
// would take each other's peers away.
type LockedError struct {
	Dir string
	PID int // of the process that has it, 0 where that is not known
}

func (e *LockedError) Error() string {
	switch e.PID {
	case 0:
		return fmt.Sprintf("data directory %s is in use by another process", e.Dir)
	case os.Getpid():
		return fmt.Sprintf("data directory %s is in use by another service of this process", e.Dir)
	}
	return fmt.Sprintf("data directory %s is in use by process %d", e.Dir, e.PID)
}

// Lock is a data directory that belongs to one service.
type Lock struct{ file *os.File }

// LockDir takes a directory for one service, until Unlock or the end of the
// process, however that comes. It does not wait: the error is a *LockedError while
// another one has it. Where the system or the file system cannot lock, it always
// succeeds.
func LockDir(dir string) (*Lock, error) {
	path := filepath.Join(dir, lockName)
	f, err := lockFile(path)
	if errors.Is(err, errTaken) {
		return nil, &LockedError{Dir: dir, PID: holder(path)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if f != nil {
		if err := sign(f); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
	}
	return &Lock{file: f}, nil
}

// Unlock gives the directory up. A nil Lock is fine.
func (l *Lock) Unlock() error {
	if l == nil || l.file == nil {
		return nil
	}
	// The name goes first: what another process reads must not be of one that is
	// gone.
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// sign writes who has the lock.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder reads who has the lock, 0 if that cannot be known.
func holder(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}
