package swarm

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// bubble is synctest.Test on one processor: timers of a bubble that fire on two at once
// corrupt the race detector's state and crash the test (golang/go#78156).
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}
