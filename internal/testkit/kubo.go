package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// KuboEnv names the ipfs program of kubo and switches the tests on that need it:
//
//	NEBNET_KUBO=/path/to/ipfs go test -count=1 -run TestKubo ./p2p ./internal/gossip/interop
const KuboEnv = "NEBNET_KUBO"

// Kubo is a daemon of kubo on loopback that knows of nobody.
type Kubo struct {
	Addr string // with its peer ID

	t    testing.TB
	ipfs string
	env  []string
}

// StartKubo starts the program that KuboEnv names, and skips the test without it.
// config are further settings: a key, and its value in JSON.
func StartKubo(t testing.TB, config ...[2]string) *Kubo {
	t.Helper()
	ipfs := os.Getenv(KuboEnv)
	if ipfs == "" {
		t.Skipf("needs kubo: set %s to its ipfs program", KuboEnv)
	}
	k := &Kubo{t: t, ipfs: ipfs, env: append(os.Environ(), "IPFS_PATH="+filepath.Join(t.TempDir(), "ipfs"))}
	k.Run("init", "--empty-repo", "--profile=test")
	for key, value := range map[string]string{
		"Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Gateway": "[]", "Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`,
		"AutoConf.Enabled": "false", "AutoTLS.Enabled": "false", "Bootstrap": "[]", "Discovery.MDNS.Enabled": "false",
		"Experimental.Libp2pStreamMounting": "true", "Pubsub.Enabled": "true", "Routing.Type": `"none"`,
		"Swarm.RelayClient.Enabled": "false", "Swarm.Transports.Network.Relay": "false",
	} {
		k.Run("config", "--json", key, value)
	}
	for _, c := range config {
		k.Run("config", "--json", c[0], c[1])
	}
	daemon := Start(t, k.Command("daemon"))
	daemon.Killed = true
	daemon.Line("Daemon is ready")
	k.Addr, _, _ = strings.Cut(strings.TrimSpace(k.Run("id", "-f", "<addrs>")), "\n")
	return k
}

// Info is where the daemon is.
func (k *Kubo) Info() peer.AddrInfo {
	k.t.Helper()
	info, err := peer.AddrInfoFromString(k.Addr)
	if err != nil {
		k.t.Fatal(err)
	}
	return *info
}

// Command is one of ipfs.
func (k *Kubo) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.ipfs, args...)
	cmd.Env = k.env
	return cmd
}

// Run runs a command of ipfs and returns what it prints.
func (k *Kubo) Run(args ...string) string {
	k.t.Helper()
	out, err := k.Command(args...).Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			k.t.Fatalf("ipfs %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		k.t.Fatalf("ipfs %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
