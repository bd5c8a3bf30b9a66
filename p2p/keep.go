package p2p

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// protector keeps the connection manager from trimming peers with running
// streams. Its tag is its own, so that two P2P on one host do not unprotect
// each other's peers.
type protector struct {
	cm  connmgr.ConnManager // may be nil
	tag string
}

func newProtector(cm connmgr.ConnManager) protector {
	return protector{cm, "nebnet-tunnel-" + rand.Text()[:8]}
}

func (p protector) hold(id peer.ID) {
	if p.cm != nil {
		p.cm.Protect(id, p.tag)
	}
}

func (p protector) release(id peer.ID) {
	if p.cm != nil {
		p.cm.Unprotect(id, p.tag)
	}
}

// While an address is kept that is not the tunnels' own, it is renewed this
// often for this long. Nothing else has this duration as a TTL, so that nobody
// changes it by that.
const (
	renewEvery = time.Minute
	renewFor   = 5*time.Minute + time.Millisecond
)

// addrKeeper keeps addresses of peers in the peerstore for as long as tunnels
// need them. An address that somebody else had put there is left to them, but
// for being renewed: when the last tunnel is gone it stays for as long as it
// would have, or for renewFor if that is longer. (A peerstore does not tell for
// how long that is.)
type addrKeeper struct {
	host  host.Host
	store peerstore.Peerstore

	mu   sync.Mutex // guards kept, and orders the calls to store
	kept map[keptAddr]*keptEntry
}

type keptAddr struct {
	peer peer.ID
	addr string // the binary form
}

type keptEntry struct {
	users int
	renew *time.Timer // nil if it was not in the peerstore before
}

func newAddrKeeper(h host.Host, store peerstore.Peerstore) *addrKeeper {
	return &addrKeeper{host: h, store: store, kept: make(map[keptAddr]*keptEntry)}
}

func (k *addrKeeper) keep(p peer.ID, a ma.Multiaddr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := keptAddr{p, string(a.Bytes())}
	e := k.kept[key]
	if e == nil {
		e = new(keptEntry)
		k.kept[key] = e
		if ma.Contains(k.store.Addrs(p), a) {
			k.store.AddAddr(p, a, renewFor)
			e.renew = time.AfterFunc(renewEvery, func() { k.renew(p, a, e) })
		} else {
			k.store.AddAddr(p, a, peerstore.PermanentAddrTTL)
		}
	}
	e.users++
}

func (k *addrKeeper) renew(p peer.ID, a ma.Multiaddr, e *keptEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.users > 0 { // not dropped meanwhile
		k.store.AddAddr(p, a, renewFor)
		e.renew.Reset(renewEvery)
	}
}

// drop lets an address expire when its last user is gone. One that is not the
// tunnels' own is renewed for the last time; one that is expires with the
// connection if there is one, since others may have confirmed it meanwhile, else
// soon.
func (k *addrKeeper) drop(p peer.ID, a ma.Multiaddr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := keptAddr{p, string(a.Bytes())}
	e := k.kept[key]
	if e == nil {
		return
	}
	if e.users--; e.users > 0 {
		return
	}
	delete(k.kept, key)
	if e.renew != nil {
		e.renew.Stop()
		k.store.AddAddr(p, a, renewFor)
		return
	}
	ttl := peerstore.TempAddrTTL
	if k.host.Network().Connectedness(p) == network.Connected {
		ttl = peerstore.ConnectedAddrTTL
	}
	k.store.SetAddr(p, a, ttl)
}
