package dispatcher

// interest tells the owner of a dispatcher when a topic gains its first
// subscriber and when it loses its last one, in order and one call at a time.
// Whoever needs the outcome of a call waits for the token.
type interest struct {
	token chan struct{} // capacity 1: who has put something in counts, and calls the owner
	n     int           // subscribers, those being registered included; of who has the token
}

// begin counts a subscriber that is about to be registered. With the first one
// the owner is asked, whose error means that it cannot be registered.
func (t *topic) begin() error {
	i := &t.interest
	i.token <- struct{}{}
	defer func() { <-i.token }() // also when the owner's code ends the goroutine
	if i.n == 0 && t.d.opened != nil {
		if err := t.d.ask("opening of "+t.name, func() error { return t.d.opened(t.name) }); err != nil {
			return err
		}
	}
	i.n++
	return nil
}

// end undoes begin. With the last one the owner is told.
func (t *topic) end() {
	i := &t.interest
	i.token <- struct{}{}
	defer func() { <-i.token }()
	if i.n--; i.n == 0 && t.d.closed != nil {
		_ = t.d.ask("closing of "+t.name, func() error { t.d.closed(t.name); return nil }) // counts a panic
	}
}
