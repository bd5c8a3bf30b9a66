package reqresp

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

// headTimeout bounds the time in which a stream names its method, and takes the answer
// where that is not served.
const headTimeout = 10 * time.Second

// server is the calls that one peer makes of one method, on a stream of theirs.
type server struct {
	e      *Engine
	m      *method
	from   peer.ID
	stream network.Stream
	out    outbox

	last uint64 // the reader's: the number of the latest call

	mu    sync.Mutex // guards what follows
	calls map[uint64]*served
	err   error // set once the stream has ended
}

// handle is the stream handler. It runs on libp2p's goroutine.
func (e *Engine) handle(s network.Stream) {
	p := s.Conn().RemotePeer()
	if code, ok := e.enterStream(p); !ok {
		s.ResetWithError(code)
		return
	}
	defer e.wg.Done()
	if !e.cfg.Peers.Admit(p) {
		e.counters.strangers.Inc(1)
		s.ResetWithError(network.StreamGated)
		return
	}
	s.SetDeadline(time.Now().Add(headTimeout))
	// Close does not wait for a peer that says nothing.
	stop := context.AfterFunc(e.ctx, func() { s.SetDeadline(time.Now()) })
	number, err := readHead(s)
	if err != nil {
		if stop() {
			e.faultIn(p, err)
		}
		s.Reset()
		return
	}
	srv := e.serveStream(p, number, s)
	if srv == nil {
		refuse(s, Unsupported)
		stop()
		return
	}
	if stop() {
		s.SetDeadline(time.Time{})
	} else {
		s.Reset() // not by the deadline, for which the peer would be blamed
	}
	srv.run()
}

// refuse tells the caller that none of its calls on this stream are served.
func refuse(s network.Stream, c Code) {
	body := appendFailure(nil, failure{code: c})
	if _, err := s.Write(append(appendHeader(nil, header{kind: kindError, size: len(body)}), body...)); err != nil {
		s.Reset()
		return
	}
	s.CloseWrite()
	// A close with unread data is a reset, which may overtake the refusal.
	io.Copy(io.Discard, io.LimitReader(s, 1<<20))
	s.Reset()
}

// run reads and writes the stream to its end.
func (s *server) run() {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(s.e.ctx)
	wg.Go(func() {
		err := s.out.pump(s.e.newWriter(ctx, s.stream, s.stream))
		if neterr.IsTimeout(err) {
			s.e.fault(s.from, FaultStalled)
		}
		s.end(err)
	})
	err := s.read(newFrameReader(s.stream))
	s.e.faultIn(s.from, err)
	s.end(err)
	cancel()
	wg.Wait()
	s.stream.Reset()
	s.e.left(s)
}

func (s *server) read(r *frameReader) error {
	for {
		// A peer that does not take its answers is not read from either.
		s.out.awaitRoom()
		h, err := r.next()
		if err == nil {
			err = s.frame(r, h)
		}
		if err != nil {
			return err
		}
	}
}

// frame takes one frame. Its error ends the stream.
func (s *server) frame(r *frameReader, h header) error {
	if h.call == 0 {
		return FaultOrder
	}
	if h.kind == kindOpen {
		return s.open(r, h)
	}
	if h.call > s.last {
		return FaultOrder // nothing of it was announced
	}
	s.mu.Lock()
	k := s.calls[h.call]
	s.mu.Unlock()
	if k == nil {
		return nil // it has been answered meanwhile; the frame is skipped
	}
	switch h.kind {
	case kindData:
		if k.requested {
			return FaultOrder
		}
		return k.data(r, h)
	case kindCancel:
		k.cancel(errCancelled)
	case kindCredit:
		if err := s.out.readCredit(r, &k.out); err != nil {
			return err
		}
	default:
		return FaultOrder
	}
	if r.left > 0 {
		return FaultFrame
	}
	return nil
}

// open begins a call. The number of an earlier one is dropped, with all that
// belongs to it.
func (s *server) open(r *frameReader, h header) error {
	if h.call <= s.last {
		s.e.fault(s.from, FaultReused)
		return nil
	}
	s.last = h.call
	t, err := readTerms(r, s.m.spec.Kind)
	if err != nil {
		return err
	}
	k, f := s.newServed(h.call, t)
	if k == nil {
		s.refuse(h.call, f)
		return nil
	}
	return k.data(r, h)
}

// refuse answers a call that is not taken in.
func (s *server) refuse(call uint64, f failure) {
	s.m.counters.refused(f.code)
	s.out.control(kindError, call, appendFailure(nil, f))
}

// end ends all calls of the stream, and the stream. The first reason counts.
func (s *server) end(err error) {
	if err == nil || err == io.EOF {
		err = ErrEnded
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	calls := make([]*served, 0, len(s.calls))
	for _, k := range s.calls {
		calls = append(calls, k)
	}
	s.mu.Unlock()
	s.out.close(err)
	for _, k := range calls {
		k.cancel(err)
		s.out.drop(&k.out)
	}
	s.stream.Reset()
}
