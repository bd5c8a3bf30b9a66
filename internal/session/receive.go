package session

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// stormPenalty is the number of streams refused for being opened too fast after
// which the peer is penalised, again and again.
const stormPenalty = 32

// receive reads an inbound message stream in its handler's goroutine.
func (s *Session) receive(t *declared, st network.Stream) {
	in, waits, why := s.admit(t, st)
	if in == nil {
		code := network.StreamShutdown
		if why == refuseStorm {
			code = network.StreamRateLimited
		}
		s.e.refuse(st, code, why)
		s.room.signal()
		return
	}
	defer s.endReader(st)
	end, ok := in.turn(s.ctx, s.e.cfg.StreamsPerType)
	if !ok {
		s.mu.Lock()
		s.refused++
		s.mu.Unlock()
		if !in.delivering.Load() {
			// Streams that the peer gave up on wait behind a slow delivery, and
			// that is not its fault.
			in.faults.Add(1)
			s.e.penalise(s.peer, FaultStreams)
		}
		s.e.refuse(st, network.StreamResourceLimitExceeded, refuseExcess)
		return
	}
	defer end()
	if s.ctx.Err() != nil { // cut off while it waited
		s.e.refuse(st, network.StreamShutdown, refuseClosed)
		return
	}
	r := reader{s: s, in: in, raw: st, waits: waits, acks: acker{s: s, w: st}}
	err := r.run()
	r.acks.stop()
	s.dispose(in, st, err)
}

// receiving is an inbound stream that is open.
type receiving struct {
	t     *declared
	waits patience // of its reader
}

// overdue lists the inbound streams of which data has been awaited for too long.
func (s *Session) overdue(now time.Duration) (streams []network.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st, in := range s.inStreams {
		if in.waits.over(now) {
			streams = append(streams, st)
		}
	}
	return streams
}

// admit counts an inbound stream and decides whether it is looked at.
func (s *Session) admit(t *declared, st network.Stream) (in *inbound, waits *patience, why string) {
	inTime := s.admitRate()
	s.mu.Lock()
	defer s.mu.Unlock()
	// Together with inStreams, for drained.
	s.arrived++
	if !inTime {
		return nil, nil, refuseStorm
	}
	if s.cut || t.retracted.Load() {
		return nil, nil, refuseClosed
	}
	in = s.inboundLocked(t)
	if s.inStreams == nil {
		s.inStreams = make(map[network.Stream]*receiving)
	}
	open := &receiving{t: t}
	s.inStreams[st] = open
	s.wg.Add(1)
	return in, &open.waits, ""
}

// inboundLocked finds what there is of a type, or makes it, in place of a type
// that was retracted.
func (s *Session) inboundLocked(t *declared) *inbound {
	i := slices.IndexFunc(s.ins, func(in *inbound) bool { return in.t.spec.Name == t.spec.Name })
	switch {
	case i < 0:
		s.ins = append(s.ins, &inbound{t: t})
		i = len(s.ins) - 1
	case s.ins[i].t != t:
		s.ins[i] = &inbound{t: t}
	}
	return s.ins[i]
}

// admitRate tells whether the peer opens streams no faster than it may.
func (s *Session) admitRate() bool {
	if s.opened.Allow() {
		return true
	}
	s.mu.Lock()
	s.refused++
	s.storm++
	penalise := s.storm%stormPenalty == 0
	s.mu.Unlock()
	if penalise {
		s.e.penalise(s.peer, FaultStorm)
	}
	return false
}

func (s *Session) endReader(st network.Stream) {
	s.mu.Lock()
	delete(s.inStreams, st)
	if len(s.inStreams) == 0 {
		s.inStreams = nil
	}
	s.mu.Unlock()
	s.room.signal()
	s.wg.Done()
}

// dispose ends a stream that was read.
func (s *Session) dispose(in *inbound, st network.Stream, err error) {
	var f Fault
	switch {
	case err == nil:
		st.Close()
	case errors.As(err, &f):
		in.faults.Add(1)
		st.ResetWithError(network.StreamProtocolViolation)
		s.e.penalise(s.peer, f)
	case errors.Is(err, errIdle):
		st.ResetWithError(network.StreamGarbageCollected)
	default:
		st.Reset()
	}
}

// deliver hands a batch over. Whatever the callback does, only its own stream
// suffers.
func (s *Session) deliver(in *inbound, batch [][]byte, wire int) (err error) {
	if !s.mayDeliver(in) {
		return net.ErrClosed
	}
	defer in.t.delivering.Add(-1)
	in.delivering.Store(true)
	defer func() {
		in.delivering.Store(false)
		if v := recover(); v != nil {
			in.panics.Add(1)
			s.e.cfg.Obs.Panicked(obs.Panic{
				Component: "session", In: in.t.spec.Name, Value: v, Count: s.e.total.panics,
				Fields: logrus.Fields{"peer": s.peer.String()},
			})
			err = errDeliver
		}
	}()
	in.messages.Add(uint64(len(batch)))
	in.bytes.Add(uint64(wire))
	in.t.countIn(len(batch), wire)
	if err := s.e.cfg.Deliver(s.ctx, s, in.t.spec, batch); err != nil {
		in.errors.Add(1)
		s.e.total.errors.Inc(1)
		return errors.Join(errDeliver, err)
	}
	return nil
}

// mayDeliver counts a delivery that begins, unless the session is over.
func (s *Session) mayDeliver(in *inbound) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return false
	}
	in.t.delivering.Add(1)
	return true
}
