package book

import (
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of bans.
const (
	MaxBans   = 4096
	MaxReason = 128 // bytes
)

// banMemory is how long a ban that is over still makes the next one longer.
const banMemory = 24 * time.Hour

// Ban is a peer, or a network of addresses, that is kept out.
type Ban struct {
	ID     peer.ID      // either this
	Prefix netip.Prefix // or that
	Since  time.Time
	Until  time.Time // carries the monotonic clock
	Times  int       // in a row, this one included
	Reason string
}

func (b Ban) key() string {
	if b.ID != "" {
		return string(b.ID)
	}
	return b.Prefix.String()
}

// SetBan adds a ban, or replaces the one of the same peer or network. When there
// are too many, the one that ends first goes.
func (b *Book) SetBan(n Ban) {
	if len(n.Reason) > MaxReason {
		n.Reason = n.Reason[:MaxReason]
	}
	k := n.key()
	if _, ok := b.bans[k]; !ok && len(b.bans) >= MaxBans {
		b.evictBan()
	}
	b.bans[k] = n
	b.changed = true
}

func (b *Book) evictBan() {
	victim, n := "", 0
	for k, x := range b.bans { // in random order
		if victim == "" || x.Until.Before(b.bans[victim].Until) {
			victim = k
		}
		if n++; n == sampled {
			break
		}
	}
	delete(b.bans, victim)
}

// Ban returns the last ban of a peer, also one that is over.
func (b *Book) Ban(p peer.ID) (Ban, bool) {
	x, ok := b.bans[string(p)]
	return x, ok
}

// BanOf returns the last ban of a network, also one that is over.
func (b *Book) BanOf(p netip.Prefix) (Ban, bool) {
	x, ok := b.bans[p.String()]
	return x, ok
}

// Unban lifts a ban, and forgets that it was.
func (b *Book) Unban(p peer.ID) {
	b.changed = b.changed || b.banned(string(p))
	delete(b.bans, string(p))
}

// UnbanOf lifts the ban of a network.
func (b *Book) UnbanOf(p netip.Prefix) {
	b.changed = b.changed || b.banned(p.String())
	delete(b.bans, p.String())
}

func (b *Book) banned(key string) bool {
	_, ok := b.bans[key]
	return ok
}

// Bans lists the bans that stand, the one that ends first in front.
func (b *Book) Bans(now time.Time) []Ban {
	var out []Ban
	for _, x := range b.bans {
		if now.Before(x.Until) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(x, y Ban) int { return x.Until.Compare(y.Until) })
	return out
}

func (b *Book) expireBans(now time.Time) {
	for k, x := range b.bans {
		if now.Sub(x.Until) > banMemory {
			delete(b.bans, k)
		}
	}
}
