package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// outStream is an outbound message stream. Negotiation is lazy: the first
// write carries it, and the answer is awaited beside.
type outStream struct {
	raw    network.Stream
	lazy   multistream.LazyConn
	opened time.Time

	deadline time.Time // the writer's: the write deadline that is set
	watched  bool      // the writer's: the answer is being awaited

	// answered is closed when the negotiation has ended; refused is valid then.
	answered chan struct{}
	refused  bool

	// Messages written before the answer: a refusal takes them back. Guarded by
	// the outbound's lock.
	confirmed               bool
	unconfirmed, unconfSize int
}

// openStream opens a stream for a type on the session's connection.
func (s *Session) openStream(pid protocol.ID) (*outStream, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.e.cfg.OpenTimeout)
	defer cancel()
	raw, err := s.conn.NewStream(network.WithAllowLimitedConn(ctx, "message stream"))
	if err != nil {
		return nil, fmt.Errorf("open message stream: %w", err)
	}
	if err := raw.SetProtocol(pid); err != nil {
		raw.ResetWithError(network.StreamResourceLimitExceeded)
		return nil, fmt.Errorf("open message stream: %w", err)
	}
	s.opens.Add(1)
	return &outStream{
		raw:      raw,
		lazy:     multistream.NewMSSelect(raw, pid),
		opened:   time.Now(),
		answered: make(chan struct{}),
	}, nil
}

// awaitAnswer ends with the negotiation. The first write has been made.
func (st *outStream) awaitAnswer() {
	_, err := st.lazy.Read(nil)
	st.refused = refusal(err)
	close(st.answered)
}

// refusal tells whether an error says that the peer does not know the protocol.
// Its reset may overtake the answer itself.
func refusal(err error) bool {
	if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
		return true
	}
	se, ok := errors.AsType[*network.StreamError](err)
	return ok && se.Remote && se.ErrorCode == network.StreamProtocolNegotiationFailed
}

// extend moves the write deadline so far that a write may go for timeout
// without progress. Setting it costs a timer, so it is set ahead.
func (st *outStream) extend(now time.Time, timeout time.Duration) error {
	if st.deadline.Sub(now) >= timeout {
		return nil
	}
	st.deadline = now.Add(timeout + timeout/2)
	return st.raw.SetWriteDeadline(st.deadline)
}

func (st *outStream) reset(code network.StreamErrorCode) { st.raw.ResetWithError(code) }
