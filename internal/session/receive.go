package session

import (
	"errors"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

const (
	// stormPenalty is the number of streams refused for being opened too fast
	// after which the peer is penalised, again and again.
	stormPenalty = 32
	// maxUnnamed bounds the inbound streams that have not said what they carry.
	maxUnnamed = 32
)

// receive reads an inbound message stream in its handler's goroutine.
func (s *Session) receive(st network.Stream) {
	open, why := s.admit(st)
	if open == nil {
		code := network.StreamShutdown
		if why != refuseClosed {
			code = network.StreamRateLimited
		}
		s.e.refuse(st, code, why)
		s.progress.signal()
		return
	}
	defer s.endReader(st)
	r := reader{s: s, raw: st, waits: &open.waits}
	err := s.identify(open, &r)
	if err == nil {
		err = s.read(&r)
	}
	s.dispose(r.in, st, err)
}

// read reads a stream of a type that this node takes, when its turn has come.
func (s *Session) read(r *reader) error {
	in := r.in
	in.t.labels.Apply()
	end, ok := in.enter(s.ctx, s.e.cfg.StreamsPerType)
	if !ok {
		if !in.delivering.Load() {
			// Streams that the peer gave up on wait behind a slow delivery, and
			// that is not its fault.
			return FaultStreams
		}
		return errExcess
	}
	defer end()
	if s.ctx.Err() != nil { // cut off while it waited
		return net.ErrClosed
	}
	return r.run()
}

// arrival is an inbound stream that is open.
type arrival struct {
	t     *messageType // nil until the stream has said what it carries
	waits deadline     // of its reader
}

// identify reads what a stream carries, and finds its receiver.
func (s *Session) identify(open *arrival, r *reader) error {
	defer func() {
		s.mu.Lock()
		s.unnamed--
		s.mu.Unlock()
	}()
	number, err := r.number()
	if err != nil {
		return err
	}
	t := s.e.reg.numbered(number)
	if t == nil {
		return FaultNumber
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.in = s.receiverLocked(t)
	// After it is known to resetInbound, which comes after the type is no longer
	// received.
	if open.t = t; !t.received() {
		return errWithdrawn
	}
	return nil
}

// overdue lists the inbound streams of which data has been awaited for too long.
// They are to be reset; their readers then know why.
func (s *Session) overdue(now time.Duration) (streams []network.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st, in := range s.inStreams {
		if in.waits.over(now) && !in.waits.expired.Swap(true) {
			streams = append(streams, st)
		}
	}
	return streams
}

// admit counts an inbound stream and decides whether it is looked at.
func (s *Session) admit(st network.Stream) (open *arrival, why string) {
	inTime := s.admitRate()
	s.mu.Lock()
	defer s.mu.Unlock()
	// Together with inStreams, for drained.
	s.arrived++
	switch {
	case !inTime:
		return nil, refuseStorm
	case s.cut:
		return nil, refuseClosed
	case s.unnamed >= maxUnnamed:
		s.refused++
		return nil, refuseUnnamed
	}
	if s.inStreams == nil {
		s.inStreams = make(map[network.Stream]*arrival)
	}
	s.unnamed++
	open = new(arrival)
	s.inStreams[st] = open
	s.wg.Add(1)
	return open, ""
}

// receiverLocked finds what there is of a type, or makes it.
func (s *Session) receiverLocked(t *messageType) *receiver {
	for _, in := range s.ins {
		if in.t == t {
			return in
		}
	}
	in := &receiver{t: t}
	s.ins = append(s.ins, in)
	return in
}

// admitRate tells whether the peer opens streams no faster than it may.
func (s *Session) admitRate() bool {
	types := len(*s.e.reg.byNumber.Load())
	s.mu.Lock()
	if s.opened.Take(s.e.cfg.streamRate(types), time.Now(), 1) {
		s.mu.Unlock()
		return true
	}
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
	s.progress.signal()
	s.wg.Done()
}

// dispose ends a stream that was read; in is nil when it never said what it
// carries.
func (s *Session) dispose(in *receiver, st network.Stream, err error) {
	var f Fault
	switch {
	case err == nil:
		st.Close()
	case errors.As(err, &f):
		if in != nil {
			in.faults.Add(1)
		}
		if f == FaultStreams {
			s.countRefused(refuseExcess)
		}
		st.ResetWithError(network.StreamProtocolViolation)
		s.e.penalise(s.peer, f)
	case errors.Is(err, errExcess):
		s.countRefused(refuseExcess)
		st.ResetWithError(network.StreamResourceLimitExceeded)
	case errors.Is(err, errWithdrawn):
		s.countRefused(refuseWithdrawn)
		st.ResetWithError(network.StreamShutdown)
	case errors.Is(err, errIdle):
		st.ResetWithError(network.StreamGarbageCollected)
	default:
		st.Reset()
	}
}

func (s *Session) countRefused(why string) {
	s.mu.Lock()
	s.refused++
	s.mu.Unlock()
	s.e.cfg.Obs.Counter(obs.StreamsRefused + why).Inc(1)
}

// deliver hands a batch over. Whatever the callback does, only its own stream
// suffers.
func (s *Session) deliver(in *receiver, batch [][]byte, wire int) (err error) {
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
				Component: "session", In: in.t.name, Value: v, Count: s.e.total.panics,
				Fields: logrus.Fields{"peer": s.peer.String()},
			})
			err = errDeliver
		}
	}()
	in.messages.Add(uint64(len(batch)))
	in.bytes.Add(uint64(wire))
	in.t.countIn(len(batch), wire)
	if err := s.e.cfg.Deliver(s.ctx, s, in.t.name, batch); err != nil {
		in.errors.Add(1)
		s.e.total.errors.Inc(1)
		return errors.Join(errDeliver, err)
	}
	return nil
}

// mayDeliver counts a delivery that begins, unless the session is over.
func (s *Session) mayDeliver(in *receiver) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return false
	}
	in.t.delivering.Add(1)
	return true
}
