package session

import "time"

// support is what is known of whether the peer understands a type. It is a
// value without a clock; times are durations since the session began.
//
// Identify's list is believed, but not for ever: a push of it may be held back
// by a rate limit, so a real negotiation is tried now and then.
type support struct {
	tried    time.Duration
	refused  bool // by the last negotiation, which is believed without asking for recheck
	avoiding bool // since tried, nothing has been offered
}

// recheck is how soon after a refusal identify's list is looked at again.
const recheck = time.Second

// knowledge is what identify says of a type.
type knowledge int

const (
	knowNothing knowledge = iota
	knowYes
	knowNo
)

// allow tells whether a message may be queued. ask is called when identify's
// list has to be looked at.
func (s *support) allow(now, retry time.Duration, ask func() knowledge) bool {
	if s.refused && now-s.tried < recheck {
		return false
	}
	switch k := ask(); {
	case k == knowYes:
		*s = support{}
		return true
	case k == knowNothing && !s.refused:
		return true
	}
	if !s.avoiding {
		s.avoiding, s.tried = true, now
	}
	if now-s.tried < retry {
		return false
	}
	s.tried, s.refused = now, false
	return true
}

// refuse notes that the peer refused a negotiation.
func (s *support) refuse(now time.Duration) {
	*s = support{refused: true, avoiding: true, tried: now}
}
