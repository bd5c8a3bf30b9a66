package session

import (
	"context"
	"slices"
	"strings"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/sirupsen/logrus"
)

// peerReady notes that the peer's first offers have come: the session can be
// used. Once is enough.
func (s *Session) peerReady() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isReady {
		return FaultControl
	}
	s.isReady = true
	s.beginLocked()
	return FaultNone
}

// beginLocked ends the wait for the peer's first offers, in vain or not.
func (s *Session) beginLocked() {
	if !s.isBegun {
		s.isBegun = true
		close(s.begun)
	}
}

// awaitReady waits until the peer's first offers have come. When ctx ends before,
// it ends the session.
func (s *Session) awaitReady(ctx context.Context) error {
	select {
	case <-s.begun: // peerReady, or end
	case <-ctx.Done():
		s.end(handshake.ReasonTimeout, false)
	}
	s.mu.Lock()
	ready := s.isReady
	s.mu.Unlock()
	if !ready {
		return s.closedErr()
	}
	return nil
}

// takeOffer notes an entry of the peer's, which took size bytes.
func (s *Session) takeOffer(e entry, size int) Fault {
	if t := s.e.reg.lookup(e.offer.Name); t != nil {
		e.offer.Name = t.name // one string for all peers
	}
	s.mu.Lock()
	was, fault := s.book.apply(e, size)
	s.mu.Unlock()
	if fault != FaultNone {
		return fault
	}
	for i, o := range []Offer{was, e.offer} {
		if tell := s.e.cfg.OnOffer; tell != nil && o.Kind != kindWithdrawn && (i == 0 || o.Kind != was.Kind || o.Name != was.Name) {
			tell(s.peer, o.Kind, o.Name)
		}
		if o.Kind == KindMessage {
			if t := s.e.reg.lookup(o.Name); t != nil {
				s.note(t)
			}
		}
	}
	return FaultNone
}

// Offered is what the peer offers under a name.
func (s *Session) Offered(kind Kind, name string) (o Offer, number uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, number, ok = s.book.find(kind, name)
	return o, number, ok && o.Properties&Taken != 0
}

// OfferedOf is what the peer offers of a kind: how large each may be, by name.
func (s *Session) OfferedOf(kind Kind) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.largest(kind)
}

// note looks at what the peer offers of a type that is known here: its queue
// learns of it, and where the two declarations differ this is said and counted,
// once for each way in which they do.
func (s *Session) note(t *messageType) {
	set := t.now.Load()
	if set == nil {
		return
	}
	s.mu.Lock()
	theirs, _, ok := s.book.find(KindMessage, t.name)
	q := s.existing(t)
	ours := offerOf(&set.spec, set.receive)
	news := ok && theirs.differs(ours) && s.differing[t.index] != theirs
	if news {
		if s.differing == nil {
			s.differing = make(map[int]Offer)
		}
		s.differing[t.index] = theirs
	} else if !ok || !theirs.differs(ours) {
		delete(s.differing, t.index)
	}
	s.mu.Unlock()
	if q != nil {
		q.refresh()
	}
	if news {
		s.e.cfg.Obs.ByType(obs.TypesDiffer, t.name).Inc(1)
		s.e.cfg.Obs.WarnLimited("session", "differs/"+t.name, logrus.Fields{
			"type": t.name, "peer": s.peer.String(), "ours": ours.String(), "theirs": theirs.String(),
		}, "a peer declares a message type differently: what both allow arrives")
	}
}

// Difference is a message type that the peer has declared otherwise than this
// node.
type Difference struct{ Ours, Theirs Offer }

// Differences lists the message types that the two nodes have declared
// differently, by name.
func (s *Session) Differences() (all []Difference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, theirs := range s.differing {
		if set := s.e.reg.numbered(i + 1).now.Load(); set != nil {
			all = append(all, Difference{offerOf(&set.spec, set.receive), theirs})
		}
	}
	slices.SortFunc(all, func(a, b Difference) int { return strings.Compare(a.Ours.Name, b.Ours.Name) })
	return all
}

// taken is what a queue has to know of what the peer takes of its type.
type taken struct {
	number  uint32 // 0 when the peer does not take the type
	maxSize int
}

// taken finds what the peer takes of a type.
func (b *offerBook) taken(name string) taken {
	o, number, ok := b.find(KindMessage, name)
	if !ok || o.Properties&Taken == 0 {
		return taken{}
	}
	return taken{number, o.MaxSize}
}
