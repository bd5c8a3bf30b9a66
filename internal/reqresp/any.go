package reqresp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"
)

// maxExperience is for how many pairs of peer and method outcomes are remembered.
const maxExperience = 4096

// experiences is what is known of peers as answerers.
type experiences struct {
	mu sync.Mutex // guards of, and what it holds
	of *lru.Cache[callerKey, *experience]
}

// at calls f with what is known of a peer.
func (x *experiences) at(k callerKey, f func(*experience)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.of.Get(k)
	if !ok {
		e = new(experience)
		x.of.Add(k, e)
	}
	f(e)
}

// note learns from the outcome of a call. What the peer decided in time is no
// failure of it.
func (x *experiences) note(k callerKey, took time.Duration, err error) {
	now := time.Now()
	x.at(k, func(e *experience) {
		refused, ok := errors.AsType[*Error](err)
		switch {
		case ok && refused.Local:
		case ok && refused.Code == Busy:
			e.busy(refused.RetryAfter, now)
		case ok && refused.Code != Internal && refused.Code != Timeout && refused.Code != Unsupported, err == nil:
			e.answered(took, now)
		default:
			e.failed(now)
		}
	})
}

// Choice says how one peer of several is asked.
type Choice struct {
	Attempts int           // peers asked at most; 0: 4
	Hedge    time.Duration // after which another is asked beside; 0: the method's p95; negative: never
	// Accept judges an answer; with an error the next peer is asked. It may be nil.
	Accept func(from peer.ID, answer []byte) error
}

const defaultAttempts = 4

// Rank orders candidates for a method, the best one first.
func (e *Engine) Rank(spec *Spec, cs []Candidate) []peer.ID {
	return rank(cs, func(p peer.ID) (x experience) {
		e.known.at(callerKey{p, spec.Name}, func(k *experience) { x = *k })
		return x
	}, time.Now(), e.cfg.Rand.Float64)
}

// Any asks the best of the candidates, another one when that fails, and another one
// beside when its answer takes longer than most. The first good answer counts; the
// other calls are given up. ErrNoSession without candidates; else the errors of all
// who were asked, joined.
func (e *Engine) Any(ctx context.Context, cs []Candidate, spec *Spec, req []byte, c Choice) ([]byte, peer.ID, error) {
	queue := e.Rank(spec, cs)
	if len(queue) == 0 {
		return nil, "", &TransportError{Method: spec.Name, Unsent: true, Err: ErrNoSession}
	}
	if c.Attempts == 0 {
		c.Attempts = defaultAttempts
	}
	queue = queue[:min(len(queue), c.Attempts)]
	type result struct {
		from   peer.ID
		answer []byte
		err    error
	}
	results := make(chan result, len(queue))
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	underWay := 0
	ask := func() {
		p := queue[0]
		queue = queue[1:]
		underWay++
		k := callerKey{p, spec.Name}
		e.known.at(k, func(x *experience) { x.underWay++ })
		wg.Go(func() {
			answer, err := e.Call(ctx, p, spec, req)
			e.known.at(k, func(x *experience) { x.underWay = max(0, x.underWay-1) })
			if err == nil && c.Accept != nil {
				if err = c.Accept(p, answer); err != nil {
					err = fmt.Errorf("call %s of %s: %w", spec.Name, p, err)
					e.known.at(k, func(x *experience) { x.failed(time.Now()) })
				}
			}
			results <- result{p, answer, err}
		})
	}
	hedge := time.NewTimer(e.hedgeAfter(spec, c.Hedge))
	defer hedge.Stop()
	ask()
	var errs []error
	for {
		select {
		case r := <-results:
			underWay--
			if r.err == nil {
				return r.answer, r.from, nil
			}
			errs = append(errs, r.err)
			if final(ctx, r.err) || len(queue) == 0 && underWay == 0 {
				return nil, "", errors.Join(errs...)
			}
			if underWay > 0 || len(queue) == 0 {
				continue
			}
		case <-hedge.C:
			if c.Hedge < 0 || len(queue) == 0 {
				continue
			}
		}
		ask()
		hedge.Reset(e.hedgeAfter(spec, c.Hedge))
	}
}

// hedgeAfter is when a further peer is asked.
func (e *Engine) hedgeAfter(spec *Spec, fixed time.Duration) time.Duration {
	m := e.method(spec)
	switch {
	case fixed > 0:
		return fixed
	case fixed < 0:
		return maxDeadline
	}
	if d := m.latency.p95(); d > 0 {
		return d
	}
	return m.spec.Deadline / 4
}

// final tells of errors that no other peer would answer otherwise.
func final(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e.Local && e.Code == TooLarge
}
