package discovery

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// take is one round of the schedule: p, or anyone, is asked if there is a point
// in it. fresh tells that it brought somebody new.
func (x *Exchange) take(p peer.ID) (fresh bool) {
	want := x.cfg.Want()
	if want <= 0 {
		return false
	}
	sessions := x.cfg.Sessions()
	if p == anyone {
		if len(sessions) == 0 {
			return false
		}
		p = sessions[x.cfg.Rand.IntN(len(sessions))]
	}
	// Also false shortly before the session is known to everybody: the next
	// round sees it.
	if !x.cfg.Member(p) {
		return false
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.cfg.Timeout)
	defer cancel()
	x.obs.Counter(obs.ExchangeAsked).Inc(1)
	records, err := x.ask(ctx, p, asking(want, len(sessions)))
	if err != nil {
		x.obs.Counter(obs.ExchangeFailed).Inc(1)
		x.obs.Log(component).WithField("peer", p.String()).WithError(err).Debug("asking for peers failed")
		x.penalise(p, err)
		return false
	}
	for _, rec := range records {
		fresh = x.consider(p, rec) || fresh
	}
	return fresh
}

// ask runs one exchange as the asker. The stream is opened on a connection that
// exists: asking dials nobody.
func (x *Exchange) ask(ctx context.Context, p peer.ID, count int) (_ []*signedRecord, err error) {
	s, err := x.cfg.Host.NewStream(network.WithNoDial(ctx, "peer exchange"), p, x.protocol)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	defer func() {
		if err != nil {
			s.ResetWithError(network.StreamProtocolViolation)
			return
		}
		s.Close()
	}()
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	if _, err := s.Write(appendFrame(nil, encodeRequest(count))); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	raw, err := readReply(s, count)
	if err != nil {
		return nil, err
	}
	return x.book.parseAll(raw)
}

// readReply reads the one frame that answers a request for count records, and
// makes sure that nothing follows.
func readReply(r io.Reader, count int) ([][]byte, error) {
	body, err := readFrame(r, maxReply)
	if err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	raw, err := decodeReply(body, count)
	if err != nil {
		return nil, err
	}
	var b [1]byte
	if n, _ := r.Read(b[:]); n > 0 {
		return nil, FaultTrailing
	}
	return raw, nil
}

// consider hands a candidate on, if it is one.
func (x *Exchange) consider(from peer.ID, rec *signedRecord) (fresh bool) {
	now := time.Now()
	seq := dated(now, rec.Seq)
	v, addrs := x.judge(now, from, rec.PeerRecord, seq)
	if v != accepted {
		x.obs.Counter(obs.ExchangeDropped + string(v)).Inc(1)
		return false
	}
	x.obs.Counter(obs.ExchangeFound).Inc(1)
	x.cfg.Found(from, peer.AddrInfo{ID: rec.PeerID, Addrs: addrs}, seq)
	return true
}

// AskGuest asks a peer that has just refused this node for want of a place whom
// else there is. The connection has to stand; a reset is no error of the peer.
func (x *Exchange) AskGuest(ctx context.Context, p peer.ID) error {
	if !x.begin() {
		return ErrClosed
	}
	defer x.wg.Done()
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(x.ctx, cancel)()
	x.obs.Counter(obs.ExchangeAsked).Inc(1)
	records, err := x.ask(ctx, p, MaxRecords)
	if err != nil {
		x.obs.Counter(obs.ExchangeFailed).Inc(1)
		x.penalise(p, err)
		return err
	}
	x.guarded("ask", func() {
		for _, rec := range records {
			x.consider(p, rec)
		}
	})
	return nil
}

// begin has Close wait for a call, until wg.Done. It is false once Close was called.
func (x *Exchange) begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.closed {
		x.wg.Add(1)
	}
	return !x.closed
}

// Recommended takes records of peers that a session peer has recommended by other
// means. Those that are no good are dropped, and counted. It may be called from several
// goroutines.
func (x *Exchange) Recommended(from peer.ID, records [][]byte) {
	if !x.begin() {
		return
	}
	defer x.wg.Done()
	x.guarded("recommended", func() {
		if x.cfg.Want() <= 0 || !x.cfg.Member(from) {
			return
		}
		for _, b := range records[:min(len(records), MaxRecords)] {
			rec, err := x.book.parse(b, MaxRecord)
			if err != nil {
				x.obs.Counter(obs.ExchangeDropped + string(dropRecord)).Inc(1)
				continue
			}
			x.consider(from, rec)
		}
	})
}

// tell hands on what a session peer says of itself. Several goroutines may bring records
// of one peer, and come here in another order; the last that the owner hears is the one
// in the book.
func (x *Exchange) tell(p peer.ID) {
	var told *signedRecord
	for r := x.book.get(p); r != told && x.cfg.Member(p); r = x.book.get(p) {
		x.tellOf(r)
		told = r
	}
}

func (x *Exchange) tellOf(r *signedRecord) {
	if r == nil {
		return
	}
	p := r.PeerID
	if addrs := usable(r.PeerRecord, func(a ma.Multiaddr) bool { return x.cfg.Allow(p, a) }, x.cfg.Relay); len(addrs) > 0 {
		x.cfg.Own(peer.AddrInfo{ID: p, Addrs: addrs}, heard(time.Now(), r.Seq))
	}
}

func (x *Exchange) judge(now time.Time, from peer.ID, rec *peer.PeerRecord, seq uint64) (v outcome, addrs []ma.Multiaddr) {
	if rec.PeerID == x.cfg.Host.ID() {
		return dropSelf, nil
	}
	if x.cfg.Member(rec.PeerID) {
		return dropMember, nil
	}
	if addrs = usable(rec, func(a ma.Multiaddr) bool { return x.cfg.Allow(from, a) }, x.cfg.Relay); len(addrs) == 0 {
		return dropAddress, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.intake.admit(now, from, rec.PeerID, seq), addrs
}
