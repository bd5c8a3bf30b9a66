package peers

import (
	"math"
	"time"
)

// usefulHalfLife is the time in which half of what a peer has been good for is
// forgotten.
const usefulHalfLife = 30 * time.Minute

// Value is what a peer is worth beside others, with its parts. All parts but
// Useful are bounded, so that none can be raised far by what the peer alone
// controls; and Useful grows with the logarithm of messages that were accepted
// and that this peer was the first to bring.
type Value struct {
	Useful  float64 // 10 for each doubling of useful messages times their weight, lately
	Latency float64 // 0 to 5, 5 without any
	Age     float64 // 0 to 10, 10 after a day
	Gossip  float64 // -50 to 10, from its score in broadcasting
	Answers float64 // -20 to 10, from requests that it answered or failed
	Penalty float64 // 0 to -100, for what it did wrong
}

// Total is the sum of the parts.
func (v Value) Total() float64 {
	return v.Useful + v.Latency + v.Age + v.Gossip + v.Answers + v.Penalty
}

// record is what a peer has shown, from which its value is worked out.
type record struct {
	useful   float64 // messages times weight, halved every usefulHalfLife
	rtt      time.Duration
	age      time.Duration
	gossip   float64
	answered float64
	failed   float64
	penalty  float64 // of BanScore
}

func (r record) value() Value {
	v := Value{
		Useful:  10 * math.Log2(1+max(r.useful, 0)),
		Age:     10 * min(math.Log2(1+max(r.age.Hours(), 0))/math.Log2(25), 1),
		Gossip:  min(max(r.gossip, -50), 10),
		Penalty: -min(max(r.penalty, 0), BanScore),
	}
	if r.rtt > 0 {
		half := 100 * time.Millisecond
		v.Latency = 5 * float64(half) / float64(half+r.rtt)
	}
	if n := r.answered + r.failed; n > 0 {
		// A few requests say little.
		v.Answers = (30*r.answered/n - 20) * n / (n + 5)
	}
	return v
}

// fade is what is left of a sum after a time.
func fade(sum float64, d time.Duration) float64 {
	if d <= 0 {
		return sum
	}
	return sum * math.Exp2(-d.Seconds()/usefulHalfLife.Seconds())
}
