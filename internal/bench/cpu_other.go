//go:build !unix

package bench

import "time"

// CPU is 0, as the system is not asked here.
func CPU() time.Duration { return 0 }
