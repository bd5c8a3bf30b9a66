package book

import "time"

// maxOff is the most time that a saved book ages by between its saving and its
// loading. A machine without a clock of its own, or with a wrong one, may be years off
// then, and must not forget all peers for it: forgetProven is more.
const maxOff = 30 * 24 * time.Hour

// clock tells the book's times, in unix seconds: those of the wall clock as it was when
// the book was first asked something, and from then on those of the monotonic one. The
// wall clock may be set by years while the node runs, and no peer is older for that. The
// zero value is ready to use.
type clock struct{ began time.Time }

func (c *clock) at(now time.Time) int64 {
	if c.began.IsZero() {
		c.began = now
	}
	return c.began.Add(now.Sub(c.began)).Unix()
}

// ahead is by how many seconds the wall clock is ahead of the book's times now.
func (c *clock) ahead(now time.Time) int64 { return now.Unix() - c.at(now) }

// shifted is a time by another clock, which is so many seconds ahead, at most the last
// moment; 0 stays what it is, never.
func shifted(v, ahead, last int64) int64 {
	if v == 0 {
		return 0
	}
	return max(1, min(v+ahead, last))
}
