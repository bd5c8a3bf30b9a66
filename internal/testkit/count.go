package testkit

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// Goroutines waits until at most that many goroutines run. Those that are still
// there at the end are shown: what was waited for may be a leak.
func Goroutines(t testing.TB, most int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("at most %d goroutines", most),
		func() bool { return runtime.NumGoroutine() <= most },
		func() string {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return fmt.Sprintf("there are %d:\n%s", runtime.NumGoroutine(), stacks)
		})
}

// OpenFiles is how many descriptors this process has open. The test is skipped
// where that cannot be seen.
func OpenFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(entries)
}

// RaceOr is the first number under the race detector, else the second.
func RaceOr(race, n int) int {
	if Race {
		return race
	}
	return n
}
