package netservice

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
)

// LargeHeader is what a node knows of a large broadcast before any of it is here.
type LargeHeader struct {
	Type   string
	Digest [32]byte // names the content: network, type, size and the hash of each chunk
	Size   int      // bytes, the encoding of the broadcast included
	Header []byte   // what Headers.Make gave, at most 4 KiB
	From   peer.ID  // that announced it first; empty for an own one
}

// Headers are small proofs that go ahead of the large broadcasts of a type, see
// NebService.SetHeaders.
type Headers struct {
	// Make gives the header of a broadcast of this node's own, of which data is the
	// payload: at most 4 KiB. It is called by Broadcast, which returns its error; a
	// panic is one too. nil: the header is empty.
	Make func(h LargeHeader, data []byte) ([]byte, error)
	// Check judges the header of another node's broadcast. It may block until ctx ends,
	// at the type's Deadline, and is called from several goroutines. Accept passes the
	// message on before it is here, Ignore drops it, Reject drops it and lowers the score
	// of every peer that announced it, Defer asks again after Resume. A panic counts as
	// Ignore.
	//
	// The check has to prove that the header's author vouches for h.Digest: by a
	// signature that covers it, say. A genuine header that somebody copied beside other
	// content passes a check that looks at the header alone, and then the whole network
	// fetches junk. Where a header cannot cover the digest, as one that is mined, at
	// most two messages are taken under each header, so that junk costs a real one.
	Check func(ctx context.Context, h LargeHeader) Verdict
	// Invalid is told of a message that the type's validator rejected although its
	// header had been accepted: its author is at fault. The peers that passed it on
	// could not know and are not blamed. It must not block. Optional.
	Invalid func(h LargeHeader)
}

// SetHeaders has the large broadcasts of a type (those above 256 KiB) go with headers.
// A message whose header Check accepts is passed on chunk by chunk as it comes, in
// place of hop by hop as a whole. What has an empty header, or is of a type without
// Check, still arrives, hop by hop. The zero Headers takes them away again. Nodes that
// have no Check, or another one, work together with those that have. It may be called
// before Start.
// Errors: those of Declare; ErrNoBroadcast.
func (s *NebService) SetHeaders(msgType string, h Headers) error {
	return s.node.types.headers(msgType, &h)
}

// Headers has large broadcasts of the type go with headers, see NebService.SetHeaders;
// makeHeader is Headers.Make with the value. Errors: those of SetHeaders; ErrUnsupported
// for a Service that is no NebService.
func (t *Type[T]) Headers(s Service, makeHeader func(v T, h LargeHeader) ([]byte, error), check func(ctx context.Context, h LargeHeader) Verdict) error {
	if err := t.declare(s); err != nil {
		return err
	}
	n := inside(s)
	if n == nil {
		return fmt.Errorf("%w: headers of %s", ErrUnsupported, t.spec.Name)
	}
	h := Headers{Check: check}
	if makeHeader != nil {
		h.Make = func(lh LargeHeader, data []byte) ([]byte, error) {
			v, err := t.codec.Decode(data)
			if err != nil {
				return nil, err
			}
			return makeHeader(v, lh)
		}
	}
	return n.SetHeaders(t.spec.Name, h)
}

// SignedHeaders are headers for those who have nothing of their own: the Ed25519
// signature of the author, with key, over the digest. trusted says whose broadcasts are
// passed on before they are here; those of others are dropped. A nil key makes no
// header: the node checks only.
func SignedHeaders(key crypto.PrivKey, trusted func(author peer.ID) bool) Headers {
	h := Headers{Check: func(_ context.Context, h LargeHeader) Verdict {
		author, err := headerAuthor(h)
		switch {
		case err != nil:
			return Reject()
		case trusted == nil || !trusted(author):
			return Ignore()
		}
		return Accept()
	}}
	if key != nil {
		h.Make = func(h LargeHeader, _ []byte) ([]byte, error) { return signHeader(key, h) }
	}
	return h
}

const (
	headerTag    = "nebnet/header/1"
	publicBytes  = 32
	signatureLen = 64
)

func signedBytes(h LargeHeader) []byte {
	b := append([]byte(headerTag), byte(len(h.Type)))
	b = append(b, h.Type...)
	return append(b, h.Digest[:]...)
}

func signHeader(key crypto.PrivKey, h LargeHeader) ([]byte, error) {
	if key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("%w: it is of type %s", ErrKeyType, key.Type())
	}
	public, err := key.GetPublic().Raw()
	if err != nil {
		return nil, err
	}
	sig, err := key.Sign(signedBytes(h))
	if err != nil {
		return nil, err
	}
	return append(public, sig...), nil
}

var errBadHeader = errors.New("not a signed header")

func headerAuthor(h LargeHeader) (peer.ID, error) {
	if len(h.Header) != publicBytes+signatureLen {
		return "", errBadHeader
	}
	key, err := crypto.UnmarshalEd25519PublicKey(h.Header[:publicBytes])
	if err != nil {
		return "", err
	}
	if ok, err := key.Verify(signedBytes(h), h.Header[publicBytes:]); err != nil || !ok {
		return "", errors.Join(errBadHeader, err)
	}
	return peer.IDFromPublicKey(key)
}

// largeHeaders are the type's headers as swarm has them.
func (s *typeState) largeHeaders() (out swarm.Headers) {
	h := s.heads
	if h == nil {
		return out
	}
	if h.Make != nil {
		out.Make = func(lh swarm.Header, own []byte) ([]byte, error) { return h.Make(LargeHeader(lh), own) }
	}
	// What waits for Relay must not be passed on before.
	if h.Check != nil && !s.spec.Broadcast.ExplicitRelay {
		out.Check = func(ctx context.Context, lh swarm.Header) (sched.Verdict, string) {
			return verdictOn(h.Check(ctx, LargeHeader(lh)))
		}
	}
	return out
}

// verdictOn is a verdict as swarm has it.
func verdictOn(v Verdict) (sched.Verdict, string) {
	if key, ok := v.as.Deferred(); ok {
		return sched.Defer, key
	}
	switch v {
	case Accept():
		return sched.Accept, ""
	case Reject():
		return sched.Reject, ""
	}
	return sched.Ignore, ""
}

// invalidLarge tells the program of an author at fault.
func (n *Node) invalidLarge(h swarm.Header) {
	s := n.types.lookup(h.Type)
	if s == nil || s.heads == nil || s.heads.Invalid == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			n.panicked("Headers.Invalid", p, nil)
		}
	}()
	s.heads.Invalid(LargeHeader(h))
}
