package peers

import (
	"math"
	"time"
)

const (
	// BanScore is the sum of penalties at which a peer is banned.
	BanScore = 100.0
	// scoreHalfLife is the time in which half of a score is forgiven.
	scoreHalfLife = 10 * time.Minute
	// scoreForgotten is the score below which a peer counts as blameless.
	scoreForgotten = 1.0
	// maxScores bounds the peers with a score.
	maxScores = 4096
)

// score is a sum of penalties that decays with time. The times carry Go's
// monotonic clock, so a stepping wall clock changes nothing.
type score struct {
	value float64
	at    time.Time
}

// now is the score at a time.
func (s score) now(t time.Time) float64 {
	d := t.Sub(s.at)
	if d <= 0 {
		return s.value
	}
	return s.value * math.Exp2(-d.Seconds()/scoreHalfLife.Seconds())
}

// add is the score after a penalty. Rewards do not exist: what a peer can
// earn by itself, it can spend on an attack. The value never exceeds twice
// BanScore.
func (s score) add(weight float64, t time.Time) score {
	if !(weight > 0) {
		weight = 0
	}
	return score{value: min(s.now(t)+weight, 2*BanScore), at: t}
}
