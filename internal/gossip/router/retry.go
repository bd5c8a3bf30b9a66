package router

import (
	"container/list"
	"slices"
	"time"
)

const (
	// maxRetry is how many messages of a topic are remembered that were turned away.
	maxRetry = 1 << 14
	// askAfter is how long a message that was turned away is left alone: most often
	// it comes again by itself. askAgain is how long an answer is waited for before
	// the next one is asked.
	askAfter = 500 * time.Millisecond
	askAgain = 3 * time.Second
	// maxAsk is how many messages of a topic are asked for at once.
	maxAsk = 1000
	// maxHolders is how many peers that have a message are remembered.
	maxHolders = 3
)

// retryList holds the messages of a topic that were turned away, the oldest first. When there is
// no space for another one, the oldest is forgotten.
type retryList struct {
	order *list.List
	at    map[*entry]*list.Element
}

func newRetryList() retryList {
	return retryList{order: list.New(), at: make(map[*entry]*list.Element)}
}

func (a *retryList) remove(e *entry) {
	if el := a.at[e]; el != nil {
		a.order.Remove(el)
		delete(a.at, e)
	}
}

// turnAway drops a message in such a way that the next copy is taken, and that it
// is asked for when there is space.
func (r *Router) turnAway(e *entry, reason string) {
	t := e.topic
	t.counts.Away[reason]++
	if e.msg.Carried { // the carrier offers it again
		r.ended(e.msg, TurnAway)
		r.retryUnasked(e)
		return
	}
	holders := append([]*Peer{e.from}, e.copies...)
	for _, p := range e.live.holders {
		if !slices.Contains(holders, p) {
			holders = append(holders, p)
		}
	}
	e.live = &live{since: r.now, holders: holders[:min(len(holders), maxHolders)]}
	e.state, e.msg, e.copies = retryable, nil, nil
	r.addRetry(e)
}

// turnAwayQuietly is turnAway for what nobody needs to be asked for.
func (r *Router) turnAwayQuietly(e *entry) {
	r.ended(e.msg, Ignore)
	r.retryUnasked(e)
}

func (r *Router) retryUnasked(e *entry) {
	e.live = &live{since: r.now, quiet: true}
	e.state, e.msg, e.copies = retryable, nil, nil
	r.addRetry(e)
}

func (r *Router) addRetry(e *entry) {
	a := &e.topic.retry
	if a.order.Len() >= maxRetry {
		oldest := a.order.Front().Value.(*entry)
		a.remove(oldest)
		e.topic.counts.Forgotten++
		r.forget(oldest)
	}
	a.at[e] = a.order.PushBack(e)
	if !e.live.quiet {
		r.wakeBy(e.live.since.Add(askAfter))
	}
}

// addHolder notes one more peer that has a message that was turned away.
func (e *entry) addHolder(p *Peer) {
	if l := e.live; len(l.holders) < maxHolders && !slices.Contains(l.holders, p) {
		l.holders = append(l.holders, p)
	}
}

// askable reports whether a message that was turned away may be asked for, because
// no answer is awaited.
func (e *entry) askable(now time.Time) bool { return now.Sub(e.live.asked) >= askAgain }

// askRetry asks for messages that were turned away, as many as there is space for. In
// a network so small that all are in the mesh, nobody would announce them.
func (r *Router) askRetry() {
	// Senders keep messages for a little longer than this.
	window := time.Duration(r.cfg.Mesh.HistoryLength-1) * r.cfg.Mesh.Heartbeat
	for _, t := range r.list {
		left := min(maxAsk, t.space())
		for el := t.retry.order.Front(); el != nil && left > 0; el = el.Next() {
			e := el.Value.(*entry)
			age := r.now.Sub(e.live.since)
			switch {
			case e.live.quiet || len(e.live.holders) == 0 || age > window:
				continue
			case age < askAfter:
				r.wakeBy(e.live.since.Add(askAfter))
			case !e.askable(r.now):
				r.wakeBy(e.live.asked.Add(askAgain))
			default:
				if r.ask(e) {
					left--
					r.wakeBy(r.now.Add(askAgain))
				}
				continue
			}
			if age < askAfter {
				break // the others are younger
			}
		}
	}
}

// ask asks the next holder of a message for it.
func (r *Router) ask(e *entry) bool {
	l := e.live
	for range l.holders {
		p := l.holders[0]
		l.holders = append(l.holders[1:], p) // the next time another
		if !p.out || p.gone || !e.topic.allows(p) {
			continue
		}
		l.asked = r.now
		c := r.control(p)
		c.Want = append(c.Want, e.id)
		return true
	}
	return false
}
