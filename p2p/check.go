package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/stream"
)

// CheckRemote asks the peer whether it serves the protocol, within the dial
// timeout: nil, ErrNotServed or ErrUnreachable. It opens a stream, waits for the
// answer and resets it, which the peer's service sees as a connection that ends.
// The service itself need not run: kubo then resets the stream without a reason, at
// times before its answer is read, and that counts as an answer.
//
// Other errors: ErrProtocolName, ErrAddress, ErrClosed, ErrLimit, and ErrNotAdmitted
// if the peer says so at once.
func (p *P2P) CheckRemote(ctx context.Context, remote peer.ID, proto string, opts ...Option) error {
	d, err := p.dialSpec(ctx, nil, remote, proto, opts)
	if err != nil {
		return fmt.Errorf("check %s: %w", proto, err)
	}
	return p.checkRemote(ctx, d)
}

func (p *P2P) checkRemote(ctx context.Context, d dialSpec) (err error) {
	closed := fmt.Errorf("check %s: %w", d.proto, ErrClosed)
	if !p.enter() {
		return closed
	}
	defer p.work.Done()
	bounded, cancel := context.WithTimeout(ctx, d.set.dialTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)() // Close ends the check, too
	for range openAttempts {
		err = p.askRemote(bounded, d)
		switch {
		case err != nil && p.ctx.Err() != nil:
			return closed
		case errors.Is(stream.Explain(err), ErrTargetRefused), unexplained(err): // who says so serves it
			return nil
		case err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNotServed), ctx.Err() != nil:
			return err
		case bounded.Err() != nil || neterr.IsTimeout(err):
			return d.fail("check", fmt.Errorf("%w: %w", ErrUnreachable, err))
		case p.host.Network().Connectedness(d.peer) != network.NotConnected:
			return err
		}
		// The connection was dead, and there may be a better one.
	}
	return d.fail("check", fmt.Errorf("%w: %w", ErrUnreachable, err))
}

// unexplained tells whether the peer has reset a stream without giving a reason. A
// peer that does not serve a protocol says so, and one that has no room gives a code.
func unexplained(err error) bool {
	se, ok := errors.AsType[*network.StreamError](err)
	return ok && se.Remote && se.ErrorCode == network.StreamNoError
}

// askRemote opens a stream and reads the answer to the negotiation, whatever the
// peerstore says: a connection to a peer that is gone looks alive for a while.
func (p *P2P) askRemote(ctx context.Context, d dialSpec) error {
	d.sure = true
	s, _, err := p.open(ctx, d)
	if err == nil {
		_ = s.Reset()
	}
	return err
}
