package dispatcher

import "sync"

// interest tells the owner of a dispatcher when a topic gains its first
// subscriber and when it loses its last one, in order and one call at a time.
// No lock is held during a call; who needs its outcome waits for telling.
type interest struct {
	mu      sync.Mutex    // guards what follows
	n       int           // subscribers, those being registered included
	told    bool          // the owner knows of some
	telling chan struct{} // closed when the call under way has returned; nil without one
}

// begin counts a subscriber that is about to be registered. With the first one
// the owner is asked, whose error means that it cannot be registered.
func (t *topic) begin() error {
	i := &t.interest
	i.waitLocked()
	defer i.mu.Unlock()
	if !i.told && t.d.opened != nil {
		if err := i.tellLocked(func() error {
			return t.d.ask("opening of "+t.name, func() error { return t.d.opened(t.name) })
		}); err != nil {
			return err
		}
	}
	i.told = true
	i.n++
	return nil
}

// end undoes begin. With the last one the owner is told.
func (t *topic) end() {
	i := &t.interest
	i.waitLocked()
	defer i.mu.Unlock()
	if i.n--; i.n > 0 {
		return
	}
	if t.d.closed != nil {
		_ = i.tellLocked(func() error {
			return t.d.ask("closing of "+t.name, func() error { t.d.closed(t.name); return nil })
		})
	}
	i.told = false
}

// waitLocked locks the mutex while no call is under way.
func (i *interest) waitLocked() {
	i.mu.Lock()
	for i.telling != nil {
		telling := i.telling
		i.mu.Unlock()
		<-telling // closed by tellLocked
		i.mu.Lock()
	}
}

// tellLocked runs code of the owner's, with the mutex unlocked meanwhile. It
// ends as it should also when that code ends the goroutine.
func (i *interest) tellLocked(code func() error) error {
	telling := make(chan struct{})
	i.telling = telling
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		i.telling = nil
		close(telling)
	}()
	return code()
}
