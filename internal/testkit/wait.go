package testkit

import (
	"fmt"
	"testing"
	"time"
)

// Deadline is how long a test waits for anything that should take no time. It
// leaves room for one slow CPU beside busy neighbours and the race detector.
const Deadline = 60 * time.Second

// pollEvery is how often Eventually looks. In a synctest bubble it is virtual.
const pollEvery = 5 * time.Millisecond

// Eventually waits until ok returns true, and ends the test if it does not within
// Deadline. What is said then is what was waited for, in the words of the caller,
// and what describe functions tell of the state at the end.
func Eventually(t testing.TB, what string, ok func() bool, describe ...func() string) {
	t.Helper()
	last := time.NewTimer(Deadline)
	defer last.Stop()
	look := time.NewTicker(pollEvery)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-last.C:
			if ok() { // the process may have stood still since the last look
				return
			}
			for _, d := range describe {
				what += "; " + d()
			}
			t.Fatalf("not within %s: %s", Deadline, what)
		}
	}
}

// Equal waits until get returns want. What it returned last is in the failure.
func Equal[T comparable](t testing.TB, what string, want T, get func() T) {
	t.Helper()
	var got T
	Eventually(t, what, func() bool { got = get(); return got == want },
		func() string { return fmt.Sprintf("it is %v, want %v", got, want) })
}

// Receive waits for a value from a channel, and ends the test if none comes
// within Deadline. From a closed channel it is the zero value at once.
func Receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	last := time.NewTimer(Deadline)
	defer last.Stop()
	select {
	case v := <-from:
		return v
	case <-last.C:
		t.Fatalf("not within %s: %s", Deadline, what)
		var zero T
		return zero
	}
}
