package netservice_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if hub := os.Getenv(idlePeersEnv); hub != "" {
		os.Exit(runIdlePeers(hub))
	}
	goleak.VerifyTestMain(m)
}
