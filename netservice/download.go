package netservice

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/setting"
)

// Download fetches a range of numbered items, such as the blocks of a chain by
// height, from many peers at once. Fetch is required, and To.
//
//	sync := netservice.Download[*Block]{
//		From: chain.Height() + 1, To: best + 1,
//		Fetch: func(ctx context.Context, p peer.ID, from, n uint64) iter.Seq2[*Block, error] {
//			return GetBlocks.Call(ctx, svc, p, Range{from, n})
//		},
//		Verify: func(height uint64, b *Block) error { return b.Check(height) },
//	}
//	for b, err := range sync.Run(ctx, svc) {
//		if err != nil { return err }
//		if err := chain.Append(b); err != nil { return err }
//	}
//
// To go on after an error or a break, run another one from the item after the last
// that was yielded.
type Download[Item any] struct {
	From, To uint64 // the first item, and the one after the last

	// Fetch asks one peer for n items from one on, in order, usually with a
	// StreamMethod. It is called from many goroutines, and ends with ctx.
	Fetch func(ctx context.Context, p peer.ID, from, n uint64) iter.Seq2[Item, error]
	// Verify judges an item by itself as soon as it has come; several at once. A peer
	// whose item has an error is a liar: it is banned, and the item asked of another
	// one. Default: all are good.
	Verify func(index uint64, item Item) error
	// Follow judges items in their order, each once and right before it is yielded,
	// such as whether a block follows the one before. It works as Verify does, and
	// blames who brought the item: let Verify find what it can. Default: all do.
	Follow func(index uint64, item Item) error
	// Peers chooses whom to ask among the peers with a session; it is asked again
	// every second. Default: all. Those that have too few items are left alone for a
	// while.
	Peers func(PeerInfo) bool

	// Chunk is how many items are asked of a peer at a time. Default: 16.
	Chunk int
	// Window bounds the chunks that are under way or wait for their turn: so at most
	// Window times Chunk items are held. Default: 64.
	Window int
	// PerPeer is how many chunks one peer is asked for at once. Default: 2.
	PerPeer int
	// Patience is how long to go on when nothing comes of anybody. Default: 1 min.
	Patience time.Duration
	// BanFor is how long a liar is banned; 0 is what misbehaviour costs, and negative
	// is not at all.
	BanFor time.Duration
	// Progress is told how it goes, at most twice a second and at the end. It should
	// return soon.
	Progress func(DownloadProgress)
}

// DownloadProgress says how a Download goes.
type DownloadProgress struct {
	Done, Total uint64 // items handed over, and all
	Rate        float64
	ByPeer      map[peer.ID]uint64 // items brought by each
	Banned      []peer.ID          // those that lied
}

// ErrNoProgress: nothing came of anybody for Download.Patience.
var ErrNoProgress = errors.New("download: nothing comes of any peer")

// Run fetches the range and yields its items in order. At the end of the loop all
// that was under way is given up. An error is the last thing yielded: a
// *ConfigError, ErrNoProgress, ErrNotStarted, ErrStopped, the cause of ctx.
func (d Download[Item]) Run(ctx context.Context, s *NebService) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var zero Item
		if err := d.check(); err != nil {
			yield(zero, err)
			return
		}
		if err := s.running(); err != nil {
			yield(zero, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		r := newDownloadRun(ctx, d.withDefaults(), s)
		defer r.wg.Wait()
		defer cancel(context.Canceled)
		r.wg.Go(r.supervise)
		for {
			item, ok, err := r.next()
			if err != nil {
				yield(zero, err)
				return
			}
			if !ok {
				r.tell(true)
				return
			}
			if !yield(item, nil) {
				return
			}
			r.tell(false)
		}
	}
}

func (d Download[Item]) withDefaults() Download[Item] {
	setting.Default(&d.Chunk, 16)
	setting.Default(&d.Window, 64)
	setting.Default(&d.PerPeer, 2)
	setting.Default(&d.Patience, time.Minute)
	if d.Verify == nil {
		d.Verify = func(uint64, Item) error { return nil }
	}
	if d.Follow == nil {
		d.Follow = func(uint64, Item) error { return nil }
	}
	if d.Peers == nil {
		d.Peers = func(PeerInfo) bool { return true }
	}
	return d
}

func (d Download[Item]) check() error {
	for field, v := range map[string]int{"Chunk": d.Chunk, "Window": d.Window, "PerPeer": d.PerPeer} {
		if v < 0 {
			return &ConfigError{Field: "Download." + field, Err: fmt.Errorf("is %d", v)}
		}
	}
	switch {
	case d.Fetch == nil:
		return &ConfigError{Field: "Download.Fetch", Err: errors.New("is nil")}
	case d.From > d.To:
		return &ConfigError{Field: "Download.From", Err: fmt.Errorf("is %d, after To, which is %d", d.From, d.To)}
	}
	return nil
}

// tell reports progress, if it is due.
func (r *downloadRun[Item]) tell(now bool) {
	if r.d.Progress == nil || !now && time.Since(r.told) < 500*time.Millisecond {
		return
	}
	r.told = time.Now()
	r.mu.Lock()
	p := DownloadProgress{
		Done: r.plan.Next() - r.d.From, Total: r.d.To - r.d.From,
		ByPeer: maps.Clone(r.brought), Banned: append([]peer.ID(nil), r.liars...),
	}
	r.mu.Unlock()
	p.Rate = float64(p.Done) / max(time.Since(r.began).Seconds(), 1e-3)
	r.d.Progress(p)
}
