package netservice

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// links turns connections into sessions: whoever dialled opens the hello, and
// a connection on which none comes is closed again. It owns one goroutine per
// handshake under way and one per session.
type links struct {
	n      *Node
	ctx    context.Context // ends all handshakes
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	live atomic.Pointer[roster] // replaced under mu

	mu      sync.Mutex // guards what follows; never held while calling out
	closing bool
	shaking map[network.Conn]*shaking    // handshakes under way
	silent  map[network.Conn]*time.Timer // inbound connections whose hello has not come
	// forgetting are the timers of peers that are about to be forgotten.
	forgetting map[*time.Timer]bool
	coming     map[peer.ID]chan struct{}       // peers between handshake and live
	made       uint64                          // how many links there ever were
	waiting    map[peer.ID]map[chan error]bool // dials that wait for a handshake's outcome
}

func newLinks(n *Node) *links {
	l := &links{
		n:          n,
		shaking:    make(map[network.Conn]*shaking),
		silent:     make(map[network.Conn]*time.Timer),
		forgetting: make(map[*time.Timer]bool),
		coming:     make(map[peer.ID]chan struct{}),
		waiting:    make(map[peer.ID]map[chan error]bool),
	}
	l.live.Store(&roster{byID: make(map[peer.ID]*link), byName: make(map[string]*link)})
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l
}

// start takes hellos and watches connections, those that exist already on an
// injected host included.
func (l *links) start() {
	for _, id := range handshake.Protocols(l.n.network) {
		l.n.host.SetStreamHandler(id, l.answer)
	}
	l.n.host.Network().Notify(l)
	for _, c := range l.n.host.Network().Conns() {
		l.Connected(nil, c)
	}
}

// refuseNew lets no handshake begin any more and ends those under way.
func (l *links) refuseNew() {
	l.mu.Lock()
	l.closing = true
	for c, t := range l.silent {
		t.Stop()
		delete(l.silent, c)
	}
	for t := range l.forgetting {
		t.Stop()
	}
	clear(l.forgetting)
	l.mu.Unlock()
	l.n.host.Network().StopNotify(l)
	for _, id := range handshake.Protocols(l.n.network) {
		l.n.host.RemoveStreamHandler(id)
	}
	l.cancel(handshake.ReasonShuttingDown)
}

// close waits for every goroutine, after refuseNew and once all sessions have
// ended.
func (l *links) close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an application callback of a handshake did not return: %w", ctx.Err())
	}
}

// Connected is called by libp2p for every new connection, before any stream.
func (l *links) Connected(_ network.Network, c network.Conn) {
	if c.Stat().Limited {
		return // relayed for coordination only
	}
	if c.Stat().Direction == network.DirOutbound {
		l.shake(c)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.n.opts.host != nil || l.silent[c] != nil {
		return
	}
	l.silent[c] = time.AfterFunc(timeout(l.n.cfg.HandshakeTimeout), func() { l.hangUp(c) })
}

// hangUp closes an inbound connection that never said hello. It runs on the
// timer's goroutine.
func (l *links) hangUp(c network.Conn) {
	l.mu.Lock()
	_, waiting := l.silent[c]
	delete(l.silent, c)
	second := l.session(c.RemotePeer()) != nil
	l.mu.Unlock()
	if !waiting || second || l.n.types.hasOpen() {
		return
	}
	l.n.peers.NoteRefused(c.RemotePeer(), network.DirInbound, handshake.ReasonTimeout)
	c.Close()
}

// Disconnected is called by libp2p; a session notices by its own streams.
func (l *links) Disconnected(_ network.Network, c network.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.silent[c]; t != nil {
		t.Stop()
		delete(l.silent, c)
	}
}

// Listen and ListenClose are of no interest.
func (l *links) Listen(network.Network, ma.Multiaddr)      {}
func (l *links) ListenClose(network.Network, ma.Multiaddr) {}

// begin notes a handshake on a connection, until over; its goroutine ends with
// end. It is nil when there is one already, or the node is closing.
func (l *links) begin(c network.Conn) *shaking {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shaking[c] != nil || l.closing {
		return nil
	}
	x := &shaking{l: l, c: c}
	l.shaking[c] = x
	if t := l.silent[c]; t != nil {
		t.Stop()
		delete(l.silent, c)
	}
	l.wg.Add(1)
	return x
}

func (l *links) over(x *shaking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.overLocked(x)
}

// overLocked lets the next handshake begin on the connection. It comes before
// anybody hears of the outcome: whoever hears may want that next one.
func (l *links) overLocked(x *shaking) {
	if l.shaking[x.c] == x {
		delete(l.shaking, x.c)
	}
}

func (l *links) end(x *shaking) {
	l.over(x)
	l.wg.Done()
}

// session returns the live link to a peer, or nil.
func (l *links) session(p peer.ID) *link { return l.live.Load().byID[p] }

// named returns the live link to the peer with that text of an ID, or nil.
func (l *links) named(id string) *link { return l.live.Load().byName[id] }

// arrive says that a peer's handshake has passed and that it is about to go
// live, which the returned function reports.
func (l *links) arrive(p peer.ID) (arrived func()) {
	ch := make(chan struct{})
	l.mu.Lock()
	l.coming[p] = ch
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		if l.coming[p] == ch {
			delete(l.coming, p)
		}
		l.mu.Unlock()
		close(ch)
	}
}

// sessionSoon is session for a peer whose first message may have overtaken its
// going live: it waits for that.
func (l *links) sessionSoon(ctx context.Context, p peer.ID) *link {
	l.mu.Lock()
	k, ch := l.session(p), l.coming[p]
	l.mu.Unlock()
	if k != nil || ch == nil {
		return k
	}
	select {
	case <-ch:
	case <-ctx.Done():
	}
	return l.session(p)
}

// all returns the live links in no order.
func (l *links) all() []*link { return slices.Collect(maps.Values(l.live.Load().byID)) }

// connect dials a peer and waits for the outcome of the handshake, no longer
// than a handshake may take. It is how package peers dials.
func (l *links) connect(ctx context.Context, ai peer.AddrInfo) error {
	if ai.ID == l.n.id {
		return handshake.ReasonSelf
	}
	if l.session(ai.ID) != nil {
		return nil
	}
	outcome := l.await(ai.ID)
	defer l.forsake(ai.ID, outcome)
	// When to try again is the peer manager's decision, not that of libp2p's
	// own dial back-off.
	if s, ok := l.n.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(ai.ID)
	}
	if err := l.n.host.Connect(ctx, ai); err != nil {
		return fmt.Errorf("%w: %w", handshake.ReasonUnreachable, err)
	}
	if l.session(ai.ID) != nil {
		return nil
	}
	// The connection may be older than this call: then nobody says hello on it
	// unless we do.
	for _, c := range l.n.host.Network().ConnsToPeer(ai.ID) {
		if l.mayOpen(c) {
			l.shake(c)
		}
	}
	limit := time.NewTimer(timeout(l.n.cfg.HandshakeTimeout))
	defer limit.Stop()
	select {
	case err := <-outcome:
		return err
	case <-limit.C:
		return fmt.Errorf("%w: nobody said hello", handshake.ReasonTimeout)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", handshake.ReasonTimeout, ctx.Err())
	case <-l.ctx.Done():
		return handshake.ReasonShuttingDown
	}
}

// mayOpen tells whether a hello may be opened on a connection that stands. That
// is for the side that dialled; but where connections outlive sessions, because
// the hosts are the programs' own, the other side would wait for ever.
func (l *links) mayOpen(c network.Conn) bool {
	return !c.Stat().Limited && (c.Stat().Direction == network.DirOutbound || l.n.opts.host != nil)
}

func (l *links) await(p peer.ID) chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[p] == nil {
		l.waiting[p] = make(map[chan error]bool)
	}
	ch := make(chan error, 1)
	l.waiting[p][ch] = true
	return ch
}

// awaited is how many wait for the outcome of a peer's handshake.
func (l *links) awaited(p peer.ID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting[p])
}

func (l *links) forsake(p peer.ID, ch chan error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting[p], ch)
	if len(l.waiting[p]) == 0 {
		delete(l.waiting, p)
	}
}

// announce tells all dials to a peer how its handshake ended.
func (l *links) announce(p peer.ID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch := range l.waiting[p] {
		select {
		case ch <- err:
		default: // told already
		}
	}
}
