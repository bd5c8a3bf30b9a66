package identity

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// A directory has one owner at a time, and the error tells who that is.
func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	first, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.file == nil {
		t.Skip("files cannot be locked here")
	}
	var locked *LockedError
	if _, err := LockDir(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Errorf("second lock: %v", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
	if err := (*Lock)(nil).Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockedErrorNamesTheProcess(t *testing.T) {
	for pid, want := range map[int]string{0: "another process", os.Getpid(): "this process", 1 << 22: "process 4194304"} {
		if got := (&LockedError{Dir: "data", PID: pid}).Error(); !strings.Contains(got, want) || !strings.Contains(got, "data") {
			t.Errorf("%d: %s", pid, got)
		}
	}
}
