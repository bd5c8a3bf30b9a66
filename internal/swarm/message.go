package swarm

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

func headerOf(m *wire.Manifest, digest wire.Sum, from peer.ID) Header {
	return Header{Type: m.Type, Digest: digest, Size: m.Size, Header: m.Header, From: from}
}

// Prepare hashes a message that is to be spread. Of a message of this node's own, own
// is what its type's Make is given to make a header of; else it is nil. data is kept,
// and must not be changed. Errors: ErrTooLarge, ErrHeader, ErrClosed, and what Make
// returns.
func (e *Engine) Prepare(typ string, data, own []byte) (*Ref, error) {
	if e.life.Err() != nil {
		return nil, ErrClosed
	}
	if len(data) > wire.MaxSize {
		return nil, fmt.Errorf("%w: %d bytes of %s, at most %d", ErrTooLarge, len(data), typ, wire.MaxSize)
	}
	m := wire.NewManifest(typ, data, nil)
	r := &Ref{manifest: m, digest: m.Digest(e.cfg.Network), data: data}
	e.mu.Lock()
	t := e.types[typ]
	e.mu.Unlock()
	if own != nil && t != nil && t.Make != nil {
		h, err := e.makeHeader(t, headerOf(m, r.digest, ""), own)
		if err != nil {
			return nil, err
		}
		m.Header = h
	}
	r.id = m.IDOf(r.digest)
	return r, nil
}

// makeHeader calls code of the program's.
func (e *Engine) makeHeader(t *messageType, h Header, data []byte) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic", ErrHeader)
			e.panicked(t.Name, p)
		}
	}()
	obs.Callback(func() { b, err = t.Make(h, data) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w of type %s: %w", ErrHeader, t.Name, err)
	case len(b) > wire.MaxHeader:
		return nil, fmt.Errorf("%w of type %s: it has %d bytes, at most %d are allowed", ErrHeader, t.Name, len(b), wire.MaxHeader)
	}
	return b, nil
}

func (e *Engine) panicked(typ string, value any) {
	e.cfg.Obs.Panicked(obs.Panic{Component: "swarm", In: typ, Value: value, Count: e.cfg.Obs.Counter(obs.SwarmPanics)})
}

// Spread shows a message to the neighbours and serves it: an own one, or one that was
// accepted. Errors: ErrFull, ErrClosed.
func (e *Engine) Spread(r *Ref) error {
	if e.life.Err() != nil {
		return ErrClosed
	}
	if e.step(sched.Event{Kind: sched.Publish, Manifest: r.manifest, ID: r.id, Digest: r.digest, Data: r.data}) {
		return ErrFull
	}
	return nil
}

// Validated tells what the application has found about a message that was delivered.
// After sched.AwaitRelay, Spread shows it.
func (e *Engine) Validated(r *Ref, v sched.Verdict) {
	e.step(sched.Event{Kind: sched.Validated, ID: r.id, Verdict: v})
}

// Resume has the headers checked again that were deferred under key.
func (e *Engine) Resume(key string) { e.step(sched.Event{Kind: sched.Resume, Key: key}) }

// whole puts a message together and hands it out.
func (e *Engine) whole(m *sched.Message, from peer.ID) {
	e.mu.Lock()
	parts, took := m.Whole(), m.Took() // does not change any more, once it is whole
	e.mu.Unlock()
	e.cfg.Obs.Histogram(obs.SwarmTime + "." + m.Manifest.Type).Update(took.Microseconds())
	data := parts[0]
	if len(parts) > 1 {
		data = make([]byte, 0, m.Manifest.Size)
		for _, p := range parts {
			data = append(data, p...)
		}
		// The scheduler holds the chunks no longer than that.
		e.step(sched.Event{Kind: sched.Joined, ID: m.ID, Data: data})
	}
	e.cfg.Deliver(Whole{
		Ref:  &Ref{manifest: m.Manifest, id: m.ID, digest: m.Digest, data: data},
		Type: m.Manifest.Type, From: from, Data: data, Cut: m.Cut(),
	})
}

// check has the program validate a header.
func (e *Engine) check(m *sched.Message, t *messageType) {
	v, key := sched.Ignore, ""
	if t != nil && t.Check != nil {
		t.labels.Apply()
		e.checks(t.Name, 1)
		defer e.checks(t.Name, -1)
		ctx, cancel := context.WithTimeout(e.life, t.Broadcast.Deadline)
		v, key = e.ask(ctx, t, headerOf(m.Manifest, m.Digest, m.From))
		cancel()
	}
	e.step(sched.Event{Kind: sched.Checked, ID: m.ID, Verdict: v, Key: key})
}

// checks counts those that run.
func (e *Engine) checks(typ string, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.checking[typ] += n; e.checking[typ] == 0 {
		delete(e.checking, typ)
	}
}

func (e *Engine) ask(ctx context.Context, t *messageType, h Header) (v sched.Verdict, key string) {
	defer func() {
		if p := recover(); p != nil {
			v, key = sched.Ignore, ""
			e.panicked(t.Name, p)
		}
	}()
	obs.Callback(func() { v, key = t.Check(ctx, h) })
	return v, key
}
