package main

// Teaches: catching up. Headers first, from one peer, because they are small and
// say which blocks there are; then the blocks from all peers at once, each checked
// against its header, so that nobody can bring a wrong one.

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
)

const maxHeaders = 2000

// behind says that somebody has a block that we have not.
func (n *node) behind(s status) {
	if n.chain.has(s.Head) || s.Height < n.chain.head().Height {
		return
	}
	select {
	case n.sync <- s:
	default: // there is work already
	}
}

// keepUp fetches what is missing: when a peer comes or says that it has more, and
// when a block waits for its parent.
func (n *node) keepUp(ctx context.Context) {
	events := n.svc.SubscribePeers(netservice.PeerConnected)
	defer events.Close()
	for ticks := time.Tick(5 * slotTime); ; {
		select {
		case _, ok := <-events.Events():
			if !ok {
				return
			}
			n.comparePeers()
		case <-ticks:
			n.comparePeers()
		case <-n.sync:
			n.catchUp(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// comparePeers reads what peers say that they have.
func (n *node) comparePeers() {
	for _, p := range n.svc.Peers() {
		var s status
		if json.Unmarshal(p.Payload, &s) == nil {
			n.behind(s)
		}
	}
}

// catchUp asks one peer after the other for headers, until one has some that make
// our chain better, and fetches their blocks.
func (n *node) catchUp(ctx context.Context) {
	for _, p := range n.svc.Peers() {
		hs := n.headersOf(ctx, p.ID)
		if len(hs) == 0 || hs[len(hs)-1].Height < n.chain.head().Height || n.fetchBlocks(ctx, hs) != nil {
			continue
		}
		if len(hs) == maxHeaders {
			n.behind(status{hs[len(hs)-1].Height + 1, ""})
		}
		return
	}
}

// headersOf asks a peer for what follows our chain. A peer that lies is banned.
func (n *node) headersOf(ctx context.Context, p peer.ID) (hs []header) {
	var parent header
	for h, err := range getHeaders.Call(ctx, n.svc, p, n.chain.locator()) {
		if err != nil {
			return nil
		}
		if len(hs) == 0 {
			parent, _ = n.chain.header(h.Parent) // one of the locator's, or h does not follow it
		}
		if len(hs) == maxHeaders || !h.valid(time.Now()) || !h.follows(parent) {
			_ = n.svc.BanPeer(p.String(), time.Hour)
			return nil
		}
		hs, parent = append(hs, h), h
	}
	return hs
}

// fetchBlocks gets the blocks of headers from everybody, and takes them in order.
func (n *node) fetchBlocks(ctx context.Context, hs []header) error {
	for len(hs) > 0 && n.chain.has(hs[0].hash()) {
		hs = hs[1:]
	}
	d := netservice.Download[*block]{
		To: uint64(len(hs)),
		Fetch: func(ctx context.Context, p peer.ID, from, count uint64) iter.Seq2[*block, error] {
			ids := make([]hash, count)
			for i := range ids {
				ids[i] = hs[from+uint64(i)].hash()
			}
			return getBlocks.Call(ctx, n.svc, p, ids)
		},
		Verify: func(i uint64, b *block) error {
			if b == nil || b.hash() != hs[i].hash() || !b.valid(time.Now()) {
				return fmt.Errorf("not block %d", hs[i].Height)
			}
			return nil
		},
		Patience: 30 * time.Second,
		Progress: func(p netservice.DownloadProgress) {
			if n.out != nil && p.Total >= 50 {
				fmt.Fprintf(n.out, "sync: %d of %d blocks, %.0f/s, %d peers\n", p.Done, p.Total, p.Rate, len(p.ByPeer))
			}
		},
	}
	for b, err := range d.Run(ctx, n.svc) {
		if err == nil {
			err = n.take(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
