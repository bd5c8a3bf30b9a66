package book

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Row 40: on a full disk the old file stays, and nothing else is left.
func TestFullDisk(t *testing.T) {
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
	f := File(filepath.Join(dir, "peers.book"))
	old := bytes.Repeat([]byte("old "), 4<<10)
	if err := f.Save(old); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(make([]byte, 60<<10)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a book that is too large: %v", err)
	}
	if raw, err := f.Load(); err != nil || !bytes.Equal(raw, old) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if err := f.Save([]byte("new")); err != nil {
		t.Errorf("one that fits: %v", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot remount: %v", err)
	}
	if err := f.Save([]byte("newer")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	if raw, err := f.Load(); err != nil || string(raw) != "new" {
		t.Errorf("%q, %v", raw, err)
	}
}

// killedEnv makes the test a process that saves until it is killed.
const killedEnv = "NEBNET_BOOK_SAVER"

// Row 44: whenever the process is killed, the file is one that was saved.
func TestKilledWhileSaving(t *testing.T) {
	if path := os.Getenv(killedEnv); path != "" {
		fmt.Println("saving")
		for i := 0; ; i++ {
			b := New()
			b.Add(t0, said(id(i), "", own(i)))
			for k := range 2000 {
				b.Add(t0, said(id(k), "", own(k)))
			}
			if err := File(path).Save(b.Append(nil, t0)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "peers.book")
	for round := range 8 {
		cmd := exec.Command(exe, "-test.run", "^TestKilledWhileSaving$")
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		// A moment that differs in each round, once there is a file to damage.
		for begun := time.Now(); ; {
			if st, err := os.Stat(path); err == nil && st.Size() > 0 || time.Since(begun) > 20*time.Second {
				break
			}
		}
		for begun := time.Now(); time.Since(begun) < time.Duration(round)*3*time.Millisecond; {
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		raw, err := File(path).Load()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := Decode(raw, t0); err != nil || b.Len() < 2000 {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if err := File(path).Save([]byte("x")); err != nil {
		t.Errorf("what the dead left is in the way: %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}
