package gossip

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/multistream"
	"github.com/go-nebnet/nebnet/internal/neterr"
)

// protocols are those of GossipSub, newest first, with what each can do.
var protocols = [...]struct {
	id    protocol.ID
	level router.Level
}{
	{"/meshsub/1.3.0", router.Extend},
	{"/meshsub/1.2.0", router.Refuse},
	{"/meshsub/1.1.0", router.Exchange},
	{"/meshsub/1.0.0", router.Mesh},
	{"/floodsub/1.0.0", router.FloodSub},
}

// Protocols are the stream protocols that an engine takes of its host, whatever
// its network: two engines on one host would take each other's streams.
func Protocols() (ids []protocol.ID) {
	for _, p := range protocols {
		ids = append(ids, p.id)
	}
	return ids
}

func levelOf(id protocol.ID) router.Level {
	for _, p := range protocols {
		if p.id == id {
			return p.level
		}
	}
	return router.FloodSub
}

// listenLocked takes streams, and opens them to all that may take part. It is called
// when the first type is declared: a node without any takes no part in gossip.
func (e *Engine) listenLocked() {
	e.listens = true
	for _, id := range Protocols() {
		e.cfg.Host.SetStreamHandler(id, e.incoming)
	}
	for _, p := range e.cfg.Host.Network().Peers() {
		e.lookAgain(p)
	}
}

func (e *Engine) unlistenLocked() {
	for _, id := range Protocols() {
		e.cfg.Host.RemoveStreamHandler(id)
	}
}

const (
	openTimeout = 20 * time.Second
	// reopenAfter is how long after the end of a stream the next one is opened. The
	// peer must have noticed the end first.
	reopenAfter = 500 * time.Millisecond
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 10 * time.Second
)

// openLocked has a stream to a peer opened, unless there is one.
func (e *Engine) openLocked(r *remote) {
	if r.opening || r.unable || r.gone || r.access == none || r.out.ready() ||
		len(e.table.Load().byType) == 0 || !e.started.Load() {
		return
	}
	r.opening = e.spawn(e.streams, func() { e.open(r) })
}

// open opens a stream to a peer, and tries again while that makes sense.
func (e *Engine) open(r *remote) {
	for {
		e.mu.Lock()
		wait := r.notBefore.Sub(now())
		e.mu.Unlock()
		if !lifecycle.Sleep(e.life, wait) || !e.openOnce(r) {
			return
		}
	}
}

// openOnce reports whether to try again.
func (e *Engine) openOnce(r *remote) (again bool) {
	s, err := e.newStream(r.id, Protocols()...)
	e.mu.Lock()
	defer e.unlock()
	if err != nil {
		r.tries++
		r.notBefore = now().Add(min(firstRetry<<min(r.tries-1, 10), lastRetry))
		r.unable = isUnsupported(err)
		r.opening = !r.unable && !r.gone && r.access != none
		return r.opening
	}
	r.opening = false
	if r.gone || r.access == none || e.life.Err() != nil {
		e.resetLocked(s)
		return false
	}
	r.tries = 0
	r.out.attach(s)
	var out outcome
	e.tellAccessLocked(r, &out)
	e.stepLocked(router.Event{
		Kind: router.Opened, Peer: r.id, Level: levelOf(s.Protocol()),
		On: s.Conn().Stat().Direction == network.DirOutbound,
	}, &out)
	if e.cfg.Params.ColocationWeight != 0 {
		e.stepLocked(router.Event{Kind: router.Addrs, Peer: r.id, Names: addrsOf(e.cfg.Host.Network().ConnsToPeer(r.id))}, &out)
	}
	e.spawn(e.streams, func() { e.confirm(r, r.out, s) })
	return false
}

// newStream opens a stream on the connection that there is.
func (e *Engine) newStream(p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(e.life, "gossip"), openTimeout)
	defer cancel()
	s, err := e.cfg.Host.NewStream(ctx, p, ids...)
	if err != nil || e.cfg.Pace == nil {
		return s, err
	}
	return e.cfg.Pace(s), nil
}

// confirm waits until the peer has agreed to the protocol, which a stream may have
// been given to without asking. After that its end can be seen by reading.
func (e *Engine) confirm(r *remote, w *writer, s network.Stream) {
	_ = s.SetReadDeadline(now().Add(openTimeout))
	if _, err := s.Read(nil); neterr.IsTimeout(err) {
		return // a stream that was negotiated before waits for a byte
	} else if err != nil {
		if isUnsupported(err) {
			e.mu.Lock()
			r.unable = true
			e.mu.Unlock()
		}
		e.outEnded(r, w, s)
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	w.confirmed(s)
}

func isUnsupported(err error) bool {
	return multistream.NotSupported(err) || strings.Contains(err.Error(), "protocols not supported")
}

// outEnded is called when a stream to a peer has ended, by itself or for an error.
func (e *Engine) outEnded(r *remote, w *writer, s network.Stream) {
	_ = s.Reset()
	e.mu.Lock()
	defer e.unlock()
	if !w.is(s) {
		return // it was given up before
	}
	var out outcome
	w.detach()
	lost := w.close()
	e.loseLocked(r, lost)
	e.stepLocked(router.Event{Kind: router.Closed, Peer: r.id}, &out)
	r.notBefore = now().Add(reopenAfter)
	e.openLocked(r)
}

// loseLocked counts messages that ended with their stream.
func (e *Engine) loseLocked(r *remote, lost []*router.Message) {
	var out outcome
	for _, m := range lost {
		e.stepLocked(router.Event{Kind: router.Dropped, Peer: r.id, Msg: m}, &out)
	}
}

func (e *Engine) lose(r *remote, lost []*router.Message) {
	e.mu.Lock()
	defer e.unlock()
	e.loseLocked(r, lost)
}

// probe looks whether streams to peers have ended at the other side: nobody reads
// from them, and a goroutine for each that does would be the largest part of what
// an idle peer costs.
func (e *Engine) probe() {
	type open struct {
		r *remote
		w *writer
		s network.Stream
	}
	var all []open
	e.mu.Lock()
	for _, r := range e.peers {
		if s := r.out.probeable(); s != nil {
			all = append(all, open{r, r.out, s})
		}
	}
	e.mu.Unlock()
	for _, o := range all {
		if hasEnded(o.s) {
			e.outEnded(o.r, o.w, o.s)
		}
	}
}

// hasEnded reads from a stream on which nothing is ever said, without waiting.
func hasEnded(s network.Stream) bool {
	_ = s.SetReadDeadline(now().Add(-time.Second))
	var b [1]byte
	_, err := s.Read(b[:])
	return err != nil && !neterr.IsTimeout(err)
}

// closeStreams ends all streams, each beside the others: on a line that is slow that may
// take its time. The channel is closed when all have ended.
func (e *Engine) closeStreams() <-chan struct{} {
	var out, in []network.Stream
	e.mu.Lock()
	for _, r := range e.peers {
		if s := r.out.detach(); s != nil {
			out = append(out, s)
		}
		e.loseLocked(r, r.out.close())
		in = append(in, r.in, r.unread)
	}
	e.unlock()
	var wg sync.WaitGroup
	for _, s := range out {
		wg.Go(func() {
			_ = s.SetWriteDeadline(now()) // whoever writes is to end
			_ = s.Close()                 // what was written arrives
		})
	}
	for _, s := range slices.DeleteFunc(in, func(s network.Stream) bool { return s == nil }) {
		wg.Go(func() { _ = s.Reset() })
	}
	return lifecycle.Go(wg.Wait)
}
