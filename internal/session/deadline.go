package session

import (
	"sync/atomic"
	"time"
)

// deadline is how long one wait for the peer may take: for a write, for data.
// Whoever waits says so; the session's tick then ends a wait that has become too
// long: a write by a deadline in the past, a read with its stream. (A deadline that
// passes while yamux hands out data takes the window update along, and the stream
// is stuck.) A deadline of the stream's own for each wait would be a timer that the
// runtime keeps, with the stream that it belongs to, long after the stream has ended.
type deadline struct {
	until   atomic.Int64 // since the session began; 0 while nobody waits
	expired atomic.Bool  // a wait for data has been ended
}

// past is a deadline that ends a wait.
var past = time.Unix(1, 0)

func (p *deadline) begin(now, most time.Duration) { p.until.Store(int64(now + most)) }

func (p *deadline) end() { p.until.Store(0) }

// over tells whether there is a wait that has taken too long.
func (p *deadline) over(now time.Duration) bool {
	until := time.Duration(p.until.Load())
	return until != 0 && now >= until
}

// tickMost is how often the waits are looked at, at least: an end may be late
// by as much.
func (c *Config) tickMost() time.Duration {
	return min(c.WriteTimeout, c.FrameTimeout, c.OpenTimeout) / 4
}
