package testnet

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
)

// Dial connects the node at src to a listener, in one round trip. It fails with
// ECONNREFUSED when the node there runs and nothing listens, and with ETIMEDOUT
// when no answer comes; attempts are repeated after 1, 2, 4 ... seconds, so a
// dial survives a short fault.
func (n *Net) Dial(ctx context.Context, src netip.Addr, dst netip.AddrPort) (*Conn, error) {
	nd := n.node(src)
	return n.dial(ctx, nd, nd.epoch.Load(), dst)
}

func (n *Net) dial(ctx context.Context, from *node, epoch uint64, dst netip.AddrPort) (*Conn, error) {
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	d := &dialer{net: n, from: from, epoch: epoch, dst: dst, giveUp: time.Now().Add(n.dialTimeout)}
	c, err := d.run(ctx)
	if err != nil {
		return nil, opError("dial", netip.AddrPort{}, dst, err)
	}
	from.dials.Add(1)
	return c, nil
}

// dialer is one call of Dial.
type dialer struct {
	net    *Net
	from   *node
	epoch  uint64
	dst    netip.AddrPort
	giveUp time.Time
}

func (d *dialer) run(ctx context.Context) (*Conn, error) {
	if d.dst.Addr().IsLoopback() {
		return nil, errRefused // a node's loopback is its own, and nothing listens there
	}
	flow := d.newFlow()
	for pause := synRTO; ; pause *= 2 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if d.dead() {
			return nil, ErrNodeDown
		}
		c, answered, err := d.attempt(ctx, flow)
		if answered || err != nil {
			return c, err
		}
		if time.Until(d.giveUp) <= pause {
			if err := sleep(ctx, time.Until(d.giveUp)); err != nil {
				return nil, err
			}
			return nil, errTimedOut
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// dead reports whether the dialling process has died.
func (d *dialer) dead() bool { return d.from.down.Load() || d.from.epoch.Load() != d.epoch }

// newFlow numbers the dial, so that its randomness is its own.
func (d *dialer) newFlow() *flow {
	n := d.net
	n.mu.Lock()
	key := [2]netip.Addr{d.from.addr, d.dst.Addr()}
	ordinal := n.ordinals[key]
	n.ordinals[key]++
	to := n.nodes[d.dst.Addr()]
	n.mu.Unlock()
	local := netip.AddrPortFrom(d.from.addr, d.from.ephemeralPort(func(uint16) bool { return false }))
	return newFlow(n, local, d.dst, d.from, to, ordinal)
}

// attempt sends one SYN. answered is false when nothing comes back.
func (d *dialer) attempt(ctx context.Context, f *flow) (c *Conn, answered bool, err error) {
	paths := d.net.rules.Load().paths(d.from.addr, d.dst.Addr())
	now := time.Now()
	out, lostOut := f.lanes[0].delay(paths[0].link, now, 0, d.net.maxRTO)
	back, lostBack := f.lanes[1].delay(paths[1].link, now, 0, d.net.maxRTO)
	if paths[0].blocked || lostOut {
		return nil, false, nil
	}
	if err := sleep(ctx, out); err != nil {
		return nil, false, err
	}
	l, known := d.find(f)
	if d.net.rules.Load().path(d.dst.Addr(), d.from.addr).blocked || lostBack || !known || l != nil && l.full() {
		return nil, false, nil
	}
	if l == nil {
		if err := sleep(ctx, back); err != nil {
			return nil, false, err
		}
		return nil, true, errRefused
	}
	if !d.net.attach(f, [2]uint64{d.epoch, l.epoch}) {
		if d.dead() {
			return nil, false, ErrNodeDown
		}
		return nil, false, nil // the listener died as the SYN came in
	}
	c = &Conn{flow: f, side: 0}
	f.ends[0].node.conns.Add(1)
	f.ends[1].node.conns.Add(1)
	accepted := &Conn{flow: f, side: 1}
	if !l.push(accepted) {
		accepted.Reset()
		c.Reset()
		return nil, true, errRefused
	}
	l.node.accepts.Add(1)
	if err := sleep(ctx, back); err != nil {
		c.Reset()
		return nil, false, err
	}
	return c, true, nil
}

// find returns the listener, nil when nothing listens, and whether there is a
// running node to say so. It completes the flow with the node.
func (d *dialer) find(f *flow) (l *Listener, known bool) {
	n := d.net
	n.mu.Lock()
	defer n.mu.Unlock()
	nd := n.nodes[d.dst.Addr()]
	if nd == nil || nd.down.Load() {
		return nil, false
	}
	f.ends[1].node = nd
	return n.listeners[d.dst], true
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if !lifecycle.Sleep(ctx, d) {
		return ctx.Err()
	}
	return nil
}
