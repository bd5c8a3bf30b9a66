package gossip

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// LargeFrame is from how many bytes on Config.Large carries a message, its encoding
// included.
const LargeFrame = 256 << 10

// Large carries messages of more than LargeFrame bytes between members, in place of
// GossipSub. What it brings it hands to TakeLarge. Its methods must not block, and not
// call the engine.
type Large interface {
	// Takes reports whether a peer is told of a message of a type and size this way.
	// It is called with the engine's lock held.
	Takes(p peer.ID, typ string, size int) bool
	// Prepare readies a message to be spread. frame is kept. Of a message that this node
	// publishes own is the data, else it is nil. It may take the time of hashing.
	Prepare(typ string, frame, own []byte) (ref any, err error)
	// Spread passes a message on. It is false where there is no memory to serve it from.
	Spread(ref any) bool
	// Ended tells what became of a message that is not passed on.
	Ended(ref any, fate LargeFate)
}

// LargeFate is what becomes of a message that Config.Large has brought and must not
// pass on now.
type LargeFate uint8

// The fates.
const (
	LargeIgnored     LargeFate = iota // or known already
	LargeRejected                     // by the validator
	LargeAwaitsRelay                  // delivered; it is passed on when Relay says so
	LargeLater                        // no space: to be offered again
)

// carried tells whether Config.Large carries messages of that size.
func (e *Engine) carried(t *topic, frame []byte) bool {
	return e.cfg.Large != nil && !t.Open && len(frame) > LargeFrame
}

// TakeLarge takes a message that Config.Large has brought: frame is what Prepare was
// given at its author. blameless says that the sender could not know whether it is
// valid. What becomes of it Large is told by Spread or Ended, before TakeLarge returns
// or later. frame is kept.
func (e *Engine) TakeLarge(from peer.ID, typ string, frame []byte, ref any, blameless bool) {
	if !e.calls.enter() {
		return
	}
	defer e.calls.leave()
	t := e.byType(typ)
	if t == nil || t.Open {
		e.cfg.Large.Ended(ref, LargeIgnored)
		return
	}
	in, ok := soleMessage(frame)
	ok = ok && string(in.Topic) == t.Name && e.wellFormed(in) && t.fits(in.Data)
	var id []byte
	if ok {
		id = e.idOf(nil, t, in)
	}
	var out outcome
	e.mu.Lock()
	if in != nil {
		t.own.bytesIn += int64(len(in.Data))
	}
	switch {
	case !ok:
		if !blameless {
			e.stepLocked(router.Event{Kind: router.Forged, Peer: from, Topic: t.Name}, &out)
		}
		e.fates = append(e.fates, fate(ref, router.Reject))
	case e.author != nil && string(in.From) == string(e.author.id), e.router.Known(id):
		e.stepLocked(router.Event{Kind: router.Copy, Peer: from, Topic: t.Name, ID: id}, &out)
		e.fates = append(e.fates, fate(ref, router.Ignore))
	default:
		m := &router.Message{
			ID: string(id), Topic: t.Name, From: from, Frame: frame, Data: in.Data,
			Carried: true, Blameless: blameless, Ref: ref,
		}
		e.signedBy(m, in)
		e.stepLocked(router.Event{Kind: router.Received, Msg: m}, &out)
	}
	e.unlock()
	e.validateAll(&out)
}

// Heeds reports whether messages of a type are taken from a peer, so that Large need not
// fetch the others.
func (e *Engine) Heeds(p peer.ID, typ string) bool {
	t := e.byType(typ)
	e.mu.Lock()
	defer e.mu.Unlock()
	return t == nil || e.router.Heeds(t.Name, p)
}

// InvalidLarge tells that a message which a peer has announced by Large was rejected
// before it came here.
func (e *Engine) InvalidLarge(p peer.ID, typ string) {
	if t := e.byType(typ); t != nil {
		e.step(router.Event{Kind: router.Invalid, Peer: p, Topic: t.Name})
	}
}

func fate(ref any, why router.Action) router.Effect {
	return router.Effect{Kind: router.Ended, Msg: &router.Message{Ref: ref}, Verdict: router.Verdict{Action: why}}
}

// soleMessage decodes a frame that holds one message in the form that Encode gives it,
// so that one message has one form.
func soleMessage(frame []byte) (*rpc.Message, bool) {
	size, n := binary.Uvarint(frame)
	if n <= 0 || size != uint64(len(frame)-n) {
		return nil, false
	}
	var r rpc.RPC
	if r.Decode(frame[n:], rpc.DefaultLimits()) != nil || len(r.Publish) != 1 {
		return nil, false
	}
	in := &r.Publish[0]
	inner := 1 + protowire.SizeBytes(len(in.Body))
	return in, in.Canonical && !in.Unknown && len(frame) == protowire.SizeVarint(uint64(inner))+inner
}

// tellLarge tells Config.Large what has become of messages, and returns those that it
// could not pass on.
func (e *Engine) tellLarge(fates []router.Effect) (unspread []*router.Message) {
	for _, f := range fates {
		m := f.Msg
		if f.Kind == router.Ended {
			if m.Ref != nil {
				e.cfg.Large.Ended(m.Ref, fateOf(f.Verdict.Action))
			}
			continue
		}
		if m.Ref == nil { // it came by GossipSub
			t := e.byName(m.Topic)
			if t == nil {
				continue
			}
			ref, err := e.cfg.Large.Prepare(t.Type, m.Frame, nil)
			if err != nil {
				continue // too large for it, or closed
			}
			m.Ref = ref
		}
		if !e.cfg.Large.Spread(m.Ref) {
			unspread = append(unspread, m)
		}
	}
	return unspread
}

func fateOf(a router.Action) LargeFate {
	switch a {
	case router.Accept:
		return LargeAwaitsRelay
	case router.Reject:
		return LargeRejected
	case router.TurnAway:
		return LargeLater
	}
	return LargeIgnored
}

// takesLarge tells whether a peer hears of a message from Config.Large.
func (e *Engine) takesLarge(p peer.ID, m *router.Message) bool {
	t := e.byName(m.Topic)
	return t != nil && e.cfg.Large.Takes(p, t.Type, len(m.Frame))
}
