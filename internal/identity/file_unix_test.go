//go:build unix

package identity

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSymlinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real.key")
	key := mustLoad(t, real)
	for name, target := range map[string]string{"link": real, "relative": "real.key", "dangling": "nowhere", "loop": "loop"} {
		symlink := filepath.Join(dir, name)
		if err := os.Symlink(target, symlink); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(symlink); !errors.Is(err, ErrSymlink) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if got := mustLoad(t, filepath.Join(dir, "link"), AllowInsecure()); !got.Equals(key) {
		t.Error("AllowInsecure loaded another key through the link")
	}
	// Creating through a dangling link would put the key where nobody looks.
	if _, err := Load(filepath.Join(dir, "dangling"), AllowInsecure()); !errors.Is(err, ErrSymlink) {
		t.Errorf("dangling with AllowInsecure: %v", err)
	}
	if got := names(t, dir); got != "dangling link loop real.key relative" {
		t.Errorf("directory holds %q", got)
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo") // must not hang for want of a writer
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range []string{dir, fifo, sock, os.DevNull} {
		for _, opts := range [][]Option{nil, {AllowInsecure()}} {
			if _, err := Load(p, opts...); !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: error %v", p, err)
			}
		}
	}
}

func TestModesOpenToOthersAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	key := mustLoad(t, path)
	for _, mode := range []fs.FileMode{0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o660, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrPermissions) {
			t.Errorf("mode %04o: error %v", mode, err)
		}
		if got := mustLoad(t, path, AllowInsecure()); !got.Equals(key) {
			t.Errorf("mode %04o: AllowInsecure loaded another key", mode)
		}
	}
	for _, mode := range []fs.FileMode{0o400, 0o600, 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if !mustLoad(t, path).Equals(key) {
			t.Errorf("mode %04o: another key", mode)
		}
	}
}

func TestUmaskDoesNotShowInTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.key")
	defer syscall.Umask(syscall.Umask(0o377))
	mustLoad(t, path)
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// A file of another user can be replaced by that user at any time.
func TestFileOfAnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	path := filepath.Join(t.TempDir(), "peer.key")
	key := mustLoad(t, path)
	if err := os.Chown(path, 65534, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrOwner) {
		t.Errorf("error %v", err)
	}
	if !mustLoad(t, path, AllowInsecure()).Equals(key) {
		t.Error("AllowInsecure loaded another key")
	}
}

// Any secret is held to the rules of the key file.
func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	path, link, fifo := filepath.Join(dir, "psk"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(path, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadSecret(path, 6); err != nil || string(b) != "secret" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := ReadSecret(path, 5); err == nil {
		t.Error("more than allowed is read")
	}
	if _, err := ReadSecret(link, 6); !errors.Is(err, ErrSymlink) {
		t.Errorf("link: %v", err)
	}
	if b, err := ReadSecret(link, 6, AllowInsecure()); err != nil || string(b) != "secret" {
		t.Errorf("link, allowed: %q, %v", b, err)
	}
	if _, err := ReadSecret(fifo, 6); !errors.Is(err, ErrNotRegular) {
		t.Errorf("pipe: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(path, 6); !errors.Is(err, ErrPermissions) {
		t.Errorf("mode: %v", err)
	}
}
