//go:build unix

package netservice_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
)

// Row 43: a service takes neither its own key nor that of a private network from a
// file that another user owns, and does not wait for a pipe. Whose file it is, its owner
// may say; what a pipe brings, nobody can.
func TestSecretsOfOthersAreRefused(t *testing.T) {
	const psk = "/key/swarm/psk/1.0.0/\n/base16/\n"
	for name, file := range map[string]func(t *testing.T) (cfg netservice.Config, path string){
		"key": func(t *testing.T) (netservice.Config, string) {
			cfg := netservice.Config{DataDir: t.TempDir()}
			if _, err := newIn(t, cfg); err != nil { // makes it
				t.Fatal(err)
			}
			return cfg, filepath.Join(cfg.DataDir, "node.key")
		},
		"private network": func(t *testing.T) (netservice.Config, string) {
			cfg := netservice.Config{PSKFile: filepath.Join(t.TempDir(), "psk")}
			if err := os.WriteFile(cfg.PSKFile, []byte(psk+strings.Repeat("0a", 32)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return cfg, cfg.PSKFile
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("of another user", func(t *testing.T) {
				if os.Getuid() != 0 {
					t.Skip("needs root, to give a file away")
				}
				cfg, path := file(t)
				if err := os.Chown(path, 65534, -1); err != nil {
					t.Fatal(err)
				}
				if _, err := newIn(t, cfg); !errors.Is(err, netservice.ErrKeyOwner) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v", err)
				}
				cfg.InsecureKey = true
				if _, err := newIn(t, cfg); err != nil {
					t.Errorf("allowed: %v", err)
				}
			})
			t.Run("pipe", func(t *testing.T) {
				cfg, path := file(t)
				if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
					t.Fatal(err)
				}
				for _, cfg.InsecureKey = range []bool{false, true} {
					if _, err := newIn(t, cfg); !errors.Is(err, netservice.ErrKeyNotRegular) || !strings.Contains(err.Error(), path) {
						t.Errorf("error %v", err)
					}
				}
			})
		})
	}
}
