package obs

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	warnEvery   = 10 * time.Second // one line per key and period
	warnMaxKeys = 256              // keys remembered at once; beyond, lines share one key
)

// limiter decides which warnings are written: at most one per key and period,
// over a bounded number of keys, because a remote peer may cause them.
type limiter struct {
	mu   sync.Mutex // guards last
	last map[string]limited
}

type limited struct {
	at         time.Time
	suppressed int
}

func newLimiter() *limiter { return &limiter{last: make(map[string]limited)} }

// allow tells whether a line under key may be written now, and how many lines
// under that key were held back since the last one that was.
func (l *limiter) allow(key string, now time.Time) (bool, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.last[key]
	if !ok && len(l.last) >= warnMaxKeys {
		l.forgetLocked(now)
		if len(l.last) >= warnMaxKeys {
			key = "other"
			e, ok = l.last[key]
		}
	}
	if ok && now.Sub(e.at) < warnEvery {
		e.suppressed++
		l.last[key] = e
		return false, 0
	}
	l.last[key] = limited{at: now}
	return true, e.suppressed
}

func (l *limiter) forgetLocked(now time.Time) {
	for k, e := range l.last {
		if now.Sub(e.at) >= warnEvery {
			delete(l.last, k)
		}
	}
}

// WarnLimited logs a warning that a remote peer can cause. Of lines with the
// same component and key, one in ten seconds is written, with the number of
// those held back.
func (o *Obs) WarnLimited(component, key string, fields logrus.Fields, msg string) {
	o.limited(logrus.WarnLevel, component, key, fields, msg)
}

// InfoLimited is WarnLimited at Info.
func (o *Obs) InfoLimited(component, key string, fields logrus.Fields, msg string) {
	o.limited(logrus.InfoLevel, component, key, fields, msg)
}

func (o *Obs) limited(level logrus.Level, component, key string, fields logrus.Fields, msg string) {
	ok, held := o.limit.allow(component+"/"+key, time.Now())
	if !ok {
		return
	}
	e := o.Log(component).WithFields(fields)
	if held > 0 {
		e = e.WithField("suppressed", held)
	}
	e.Log(level, msg)
}
