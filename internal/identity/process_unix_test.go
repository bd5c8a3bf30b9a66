//go:build unix

package identity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// childEnv makes the test binary play a part of its own instead of testing.
const childEnv = "IDENTITY_TEST_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		os.Exit(child(part, os.Args[len(os.Args)-1]))
	}
	goleak.VerifyTestMain(m)
}

func child(part, arg string) int {
	switch part {
	case "create": // keys as fast as it goes, until killed
		for i := 0; ; i++ {
			if _, err := Load(filepath.Join(arg, fmt.Sprintf("%d.key", i))); err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Println(i)
		}
	case "load": // waits for the word, then prints the public key
		fmt.Println("ready")
		_, _ = io.ReadAll(os.Stdin)
		key, err := Load(arg)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		raw, _ := key.GetPublic().Raw()
		fmt.Println(hex.EncodeToString(raw))
		return 0
	case "lock":
		if _, err := LockDir(arg); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("locked")
		_, _ = io.ReadAll(os.Stdin)
		return 0
	case "nobody":
		return asNobody(arg)
	}
	return 2
}

func command(exe, part, arg string) *exec.Cmd {
	cmd := exec.Command(exe, arg)
	// The race detector would make each child linger for a second.
	cmd.Env = append(os.Environ(), childEnv+"="+part, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// A process killed while it makes keys leaves whole keys or none.
func TestKillInMidWrite(t *testing.T) {
	for round := range 12 {
		dir := t.TempDir()
		cmd := testkit.Self(t, []string{childEnv + "=create"}, dir)
		cmd.Stderr = os.Stderr
		p := testkit.Start(t, cmd)
		for range 1 + 3*round { // kill at another point each time
			p.Line()
		}
		p.Signal(os.Kill)
		p.Exit()

		keys := 0
		for name := range strings.FieldsSeq(names(t, dir)) {
			if strings.HasSuffix(name, ".tmp") {
				continue // what the dead process was at; under no key's name
			}
			path := filepath.Join(dir, name)
			first := mustLoad(t, path)
			if !mustLoad(t, path).Equals(first) {
				t.Fatalf("%s changes", name)
			}
			keys++
		}
		if keys < 1+3*round {
			t.Errorf("round %d: %d keys are left", round, keys)
		}
	}
}

// Two processes that start at once, without a key, end with one.
func TestTwoProcessesAgree(t *testing.T) {
	for range 10 {
		path := filepath.Join(t.TempDir(), "peer.key")
		var both [2]*testkit.Process
		for i := range both {
			cmd := testkit.Self(t, []string{childEnv + "=load"}, path)
			cmd.Stderr = os.Stderr
			both[i] = testkit.Start(t, cmd)
			both[i].Line("ready")
		}
		var keys [2]string
		for _, p := range both {
			p.CloseInput()
		}
		for i, p := range both {
			keys[i] = p.Line()
			if code := p.Exit(); code != 0 {
				t.Fatalf("child %d: exit %d: %s", i, code, keys[i])
			}
		}
		if keys[0] != keys[1] || len(keys[0]) != 64 {
			t.Fatalf("keys %q and %q", keys[0], keys[1])
		}
	}
}

// A process that is killed gives up its directory.
func TestLockOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := testkit.Self(t, []string{childEnv + "=lock"}, dir)
	cmd.Stderr = os.Stderr
	p := testkit.Start(t, cmd)
	p.Line("locked")
	var locked *LockedError
	if _, err := LockDir(dir); !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("error %v, the process is %d", err, cmd.Process.Pid)
	}
	p.Signal(os.Kill)
	p.Exit()
	l, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// Root passes by file modes, so this part runs as another user.
func TestPermissionsAsOrdinaryUser(t *testing.T) {
	// Not t.TempDir: its parents are closed to other users.
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if os.Getuid() != 0 {
		if code := asNobody(dir); code != 0 {
			t.Fatalf("exit status %d", code)
		}
		return
	}
	exe := filepath.Join(dir, "test")
	copyFile(t, exe, os.Args[0], 0o755)
	work := filepath.Join(dir, "work")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(work, 0o700), os.Chown(work, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	cmd := command(exe, "nobody", work)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	cmd.Dir = work
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("cannot become another user here: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// asNobody plays the cases of an unprivileged user and prints what went wrong.
func asNobody(dir string) int {
	status := 0
	check := func(what string, err error, want ...error) {
		for _, w := range want {
			if errors.Is(err, w) {
				return
			}
		}
		fmt.Printf("%s: %v, want %v\n", what, err, want)
		status = 1
	}
	path := filepath.Join(dir, "peer.key")
	_, err := Load(path)
	check("first start", err, nil)

	check("chmod", os.Chmod(path, 0o000), nil)
	_, err = Load(path)
	check("unreadable file", err, fs.ErrPermission)
	_, err = Load(path, AllowInsecure())
	check("unreadable file, insecure", err, fs.ErrPermission)

	check("chmod", os.Chmod(path, 0o640), nil)
	_, err = Load(path)
	check("group-readable file", err, ErrPermissions)

	closed := filepath.Join(dir, "closed")
	check("mkdir", os.Mkdir(closed, 0o500), nil)
	_, err = Load(filepath.Join(closed, "peer.key"))
	check("unwritable directory", err, fs.ErrPermission)
	_, err = Load(filepath.Join(closed, "sub", "peer.key"))
	check("directory that cannot be made", err, fs.ErrPermission)
	check("chmod", os.Chmod(closed, 0o100), nil)
	_, err = Load(filepath.Join(closed, "peer.key"))
	check("unlisted directory", err, fs.ErrPermission)
	check("chmod", os.Chmod(closed, 0o700), nil)
	return status
}

func copyFile(t *testing.T, to, from string, mode fs.FileMode) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}
