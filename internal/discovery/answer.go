package discovery

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// How much is answered. An asker that keeps to the protocol asks five times
// after a meeting and then twice a minute at most.
const (
	answerBurst   = 16              // answers to one peer at once
	answerEvery   = 5 * time.Second // one more answer to it
	maxAskers     = 1024            // peers whose rate is remembered
	maxAnswering  = 64              // streams being answered
	answerPerPeer = 2               // of them, with one peer
)

var answerRate = tokenbucket.Rate{PerSecond: 1 / answerEvery.Seconds(), Burst: answerBurst}

// refusal is why a stream is reset unread; it is its metric label too.
type refusal string

const (
	refusedNone    refusal = ""
	refusedMember  refusal = "not_member"
	refusedRate    refusal = "rate"
	refusedLimit   refusal = "limit"
	refusedClosing refusal = "closing"
)

func (r refusal) code() network.StreamErrorCode {
	switch r {
	case refusedMember:
		return network.StreamGated
	case refusedRate:
		return network.StreamRateLimited
	case refusedLimit:
		return network.StreamResourceLimitExceeded
	}
	return network.StreamShutdown
}

// desk bounds the answering. It has no clock and no lock of its own.
type desk struct {
	rates *lru.Cache[peer.ID, *tokenbucket.Bucket]
	open  map[peer.ID]int
	total int
}

func newDesk() *desk {
	return &desk{rates: newLRU[*tokenbucket.Bucket](maxAskers), open: make(map[peer.ID]int)}
}

// enter lets a stream of p in; leave must follow when it does.
func (d *desk) enter(now time.Time, p peer.ID) refusal {
	if d.total == maxAnswering || d.open[p] == answerPerPeer {
		return refusedLimit
	}
	b, ok := d.rates.Get(p)
	if !ok {
		b = new(tokenbucket.Bucket)
		d.rates.Add(p, b)
	}
	if !b.Take(answerRate, now, 1) {
		return refusedRate
	}
	d.total++
	d.open[p]++
	return refusedNone
}

func (d *desk) leave(p peer.ID) {
	d.total--
	if d.open[p]--; d.open[p] == 0 {
		delete(d.open, p)
	}
}

// handle is the stream handler. It runs on libp2p's goroutine.
func (x *Exchange) handle(s network.Stream) {
	p := s.Conn().RemotePeer()
	member := false
	x.guarded("Member", func() { member = x.cfg.Member(p) || x.cfg.Guest(p) })
	why := refusedMember
	if member {
		why = x.enter(p)
	}
	if why != refusedNone {
		x.obs.Counter(obs.ExchangeRefused + string(why)).Inc(1)
		s.ResetWithError(why.code())
		return
	}
	defer x.leave(p)
	x.guarded("answer", func() {
		if err := x.answer(s, p); err != nil {
			x.obs.Log(component).WithField("peer", p.String()).WithError(err).Debug("telling of peers failed")
			x.penalise(p, err)
			return
		}
		x.obs.Counter(obs.ExchangeAnswered).Inc(1)
	})
}

func (x *Exchange) enter(p peer.ID) refusal {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return refusedClosing
	}
	why := x.desk.enter(time.Now(), p)
	if why == refusedNone {
		x.wg.Add(1)
	}
	return why
}

func (x *Exchange) leave(p peer.ID) {
	x.mu.Lock()
	x.desk.leave(p)
	x.mu.Unlock()
	x.wg.Done()
}

// answer runs one exchange as the answerer. Also when a callback panics, the
// stream does not stay open.
func (x *Exchange) answer(s network.Stream, p peer.ID) (err error) {
	ctx, cancel := context.WithTimeout(x.ctx, x.cfg.Timeout)
	defer cancel()
	answered := false
	defer func() {
		if !answered {
			s.ResetWithError(network.StreamProtocolViolation)
		}
	}()
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	body, err := readFrame(s, maxRequest)
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	count, err := decodeRequest(body)
	if err != nil {
		return err
	}
	records := sample(x.cfg.Rand, x.cfg.Sessions(), p, count, x.book.sharable)
	if _, err := s.Write(appendFrame(nil, encodeReply(records))); err != nil {
		return fmt.Errorf("write reply: %w", err)
	}
	answered = true
	return s.Close()
}
