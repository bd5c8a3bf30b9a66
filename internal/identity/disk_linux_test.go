package identity

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of 64 KiB below the test's own directory.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	path := filepath.Join(dir, "peer.key")
	if _, err := Load(path); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Load on a full disk: %v", err)
	}
	if got := names(t, dir); got != "ballast" {
		t.Fatalf("directory holds %q", got)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	key := mustLoad(t, path)
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if !mustLoad(t, path).Equals(key) {
		t.Error("a full disk changed the key")
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "peer.key")
	key := mustLoad(t, path)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot remount: %v", err)
	}
	if !mustLoad(t, path).Equals(key) {
		t.Error("another key")
	}
	if _, err := Load(filepath.Join(dir, "other.key")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("new key on a read-only disk: %v", err)
	}
}
