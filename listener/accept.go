package listener

import (
	"errors"
	"net"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// accept runs until the listener is closed (nil) or cannot go on (the error).
func (l *Listener) accept(ln net.Listener, handle func(net.Conn)) error {
	var wait time.Duration
	for {
		c, err := ln.Accept()
		if err == nil {
			wait = 0
			handle(c)
			continue
		}
		if l.closing() {
			return nil
		}
		l.reg.obs.Counter(obs.TunnelAcceptErrors).Inc(1)
		if !passes(err) {
			return err
		}
		wait = backoff(wait)
		l.reg.obs.WarnLimited("tunnel", "accept", logrus.Fields{
			"listen": l.cfg.Listen.String(), "error": err.Error(), "wait": wait.String(),
		}, "cannot accept connections for now")
		select {
		case <-time.After(wait):
		case <-l.done: // closed by end
			return nil
		}
	}
}

// closing reports whether the listener has been told to stop.
func (l *Listener) closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// backoff doubles the pause between minBackoff and maxBackoff.
func backoff(last time.Duration) time.Duration {
	return min(max(2*last, minBackoff), maxBackoff)
}

// passes reports whether an error of Accept may go away by itself: too few
// descriptors, too little memory, a connection that ended before it was
// accepted.
func passes(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	for _, e := range passing {
		if errors.Is(err, e) {
			return true
		}
	}
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
