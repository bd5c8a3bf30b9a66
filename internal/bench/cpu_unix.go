//go:build unix

package bench

import (
	"syscall"
	"time"
)

// CPU is the processor time that this process has used. Unlike a time, it
// hardly depends on what else the machine does.
func CPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
