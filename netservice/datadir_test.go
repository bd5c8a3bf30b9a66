package netservice_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

func newIn(t *testing.T, cfg netservice.Config, opts ...netservice.Option) (*netservice.NebService, error) {
	t.Helper()
	cfg.ChainID, cfg.Listen = "test", []string{netservice.ListenNowhere}
	s, err := netservice.NewNebService(cfg, append(opts, quiet())...)
	if err == nil {
		t.Cleanup(func() { _ = s.Stop() })
	}
	return s, err
}

// One service has a data directory at a time, and the next one may have it when
// the first has stopped.
func TestDataDirHasOneService(t *testing.T) {
	cfg := netservice.Config{DataDir: t.TempDir()}
	first, err := newIn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	second, err := newIn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start()
	if e, ok := errors.AsType[*netservice.DataDirInUseError](err); !ok || e.Dir != cfg.DataDir || e.PID != os.Getpid() {
		t.Fatalf("second start: %v", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	third, err := newIn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Start(); err != nil {
		t.Errorf("after the first has stopped: %v", err)
	}
}

// A private network's key file is a secret like the key file.
func TestPSKFileIsHeldToTheRulesOfSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "psk")
	text := "/key/swarm/psk/1.0.0/\n/base16/\n" + strings.Repeat("0a", 32) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newIn(t, netservice.Config{PSKFile: path}); err != nil {
		t.Fatal(err)
	}
	symlink := path + ".link"
	if err := os.Symlink(path, symlink); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path string
		mode os.FileMode
		want error
	}{{path, 0o644, netservice.ErrKeyPermissions}, {symlink, 0o600, netservice.ErrKeySymlink}} {
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		_, err := newIn(t, netservice.Config{PSKFile: tc.path})
		if e, ok := errors.AsType[*netservice.ConfigError](err); !ok || e.Field != "PSKFile" || !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", tc.path, err, tc.want)
		}
		if _, err := newIn(t, netservice.Config{PSKFile: tc.path, InsecureKey: true}); err != nil {
			t.Errorf("%s, allowed: %v", tc.path, err)
		}
	}
}

// Keys that the library cannot use are refused before anything is opened.
func TestOtherKeyTypesAreRefusedAtOnce(t *testing.T) {
	rsa, _, err := crypto.GenerateRSAKeyPair(2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secp, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PrivKey{rsa, secp} {
		_, err := newIn(t, netservice.Config{}, netservice.WithIdentity(key))
		if e, ok := errors.AsType[*netservice.ConfigError](err); !ok || e.Field != "WithIdentity" || !errors.Is(err, netservice.ErrKeyType) {
			t.Errorf("%s: %v", key.Type(), err)
		}
	}
}

// An error has one name in all packages, and its text says it once.
func TestErrorsHaveOneName(t *testing.T) {
	if !errors.Is(dispatcher.ErrQueueFull, netservice.ErrQueueFull) {
		t.Error("a full queue of the dispatcher is another error")
	}
	s, err := newIn(t, netservice.Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.PutMessage(dispatcher.NewMessage("tx", "", nil))
	if !errors.Is(err, netservice.ErrNotStarted) || !errors.Is(err, dispatcher.ErrNotStarted) || strings.Count(err.Error(), "not started") != 1 {
		t.Errorf("before Start: %v", err)
	}
	if err := errors.Join(s.Start(), s.Stop()); err != nil {
		t.Fatal(err)
	}
	err = s.PutMessage(dispatcher.NewMessage("tx", "", nil))
	if !errors.Is(err, netservice.ErrStopped) || strings.Contains(err.Error(), "netservice") {
		t.Errorf("after Stop: %v", err)
	}
}
