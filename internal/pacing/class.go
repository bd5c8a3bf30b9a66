package pacing

import "time"

// Class is the priority of what is written.
type Class uint8

// The classes. While all have something to write, High gets 16 bytes for 4 of
// Normal and 1 of Low; none is starved.
const (
	High Class = iota
	Normal
	Low

	Classes = 3
)

// LowestRate is the rate, in bytes per second, at which a transfer is neither cut
// nor blamed. Below it, it may be.
const LowestRate = 4 << 10

// Allowance is how long n bytes take at LowestRate.
func Allowance(n int64) time.Duration {
	return time.Duration(n) * (time.Second / LowestRate)
}
