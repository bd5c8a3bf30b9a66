package book

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Source says how a peer or an address became known. The numbers are part of
// the file's format.
type Source uint8

// The sources.
const (
	FromUnknown     Source = iota
	FromOperator           // configuration or a call of the program
	FromPeer               // its own signed record, told by itself
	FromExchange           // its signed record, told by another peer
	FromDNS                // a name that the operator gave
	FromLAN                // multicast DNS
	FromKademlia           // a walk through the distributed hash table
	FromApplication        // a source of the program's own
	sources
)

var sourceNames = [...]string{"unknown", "operator", "peer", "exchange", "dns", "lan", "kademlia", "application"}

func (s Source) String() string {
	if s < sources {
		return sourceNames[s]
	}
	return "unknown"
}

// signed tells whether what the source says is signed by the peer it is about.
func (s Source) signed() bool { return s == FromPeer || s == FromExchange }

// Addr is one address of a peer.
type Addr struct {
	Raw    string // the multiaddr in binary, without /p2p
	Source Source
	Seen   int64  // unix seconds, when it was last named
	Good   int64  // unix seconds, when it last led to a session; 0 never
	Fails  uint16 // attempts since then that did not
}

// Multiaddr is the address in its usual form; nil when it is none, as a file
// that this program did not write may have it.
func (a Addr) Multiaddr() ma.Multiaddr {
	m, err := ma.NewMultiaddrBytes([]byte(a.Raw))
	if err != nil {
		return nil
	}
	return m
}

// ip is the IP address that the multiaddr begins with. It reads the two first
// fields only: a book of ten thousand peers is loaded in no time.
func (a Addr) ip() (netip.Addr, bool) {
	size := 0
	switch {
	case len(a.Raw) > 0 && a.Raw[0] == ma.P_IP4:
		size = 4
	case len(a.Raw) > 0 && a.Raw[0] == ma.P_IP6:
		size = 16
	}
	if size == 0 || len(a.Raw) <= size {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice([]byte(a.Raw[1 : 1+size]))
	return ip.Unmap(), ok
}

// worse orders the addresses of one peer by how soon they may go.
func (a Addr) worse(b Addr) bool {
	switch {
	case (a.Good == 0) != (b.Good == 0):
		return a.Good == 0
	case a.Fails != b.Fails:
		return a.Fails > b.Fails
	}
	return max(a.Seen, a.Good) < max(b.Seen, b.Good)
}

// Entry is what is known of one peer. Times are unix seconds, 0 for never.
type Entry struct {
	ID     peer.ID
	Source Source
	Teller peer.ID // who told of it first, empty when no other peer did
	Kept   bool    // named by the operator: never forgotten
	Seq    uint64  // of its newest signed record, or of what it said of itself last
	Added  int64
	Seen   int64 // last named, or here
	Tried  int64 // last dialled
	Good   int64 // last dialled with success
	Met    int64 // last session, whoever dialled
	Fails  uint16
	Agent  string
	Useful float64 // what it was worth when it was last here
	Faults float64 // the penalties that stood against it when the book was saved
	Reason uint16  // wire code of why the last attempt or session ended
	Addrs  []Addr

	// Next is when it may be dialled again. It carries the monotonic clock and
	// is not saved: after a restart everybody may be tried.
	Next time.Time
	// PutOff tells that Next is not for what came of an attempt, but because none of its
	// addresses could be dialled: another address ends that wait.
	PutOff bool
	// Renewed tells that a newer record has brought another address since the last attempt
	// began: that it failed says nothing of the new one. It is not saved.
	Renewed bool
	group   netip.Prefix // of its first public address
}

// Proven tells whether a dial has led to a session: what only others say of a
// peer, or it of itself, does not count.
func (e *Entry) Proven() bool { return e.Good != 0 }

// Group is the neighbourhood of the peer's first address that has one; the zero
// prefix for none.
func (e *Entry) Group() netip.Prefix { return e.group }

// worse orders entries by how soon they may go.
func (e *Entry) worse(o *Entry) bool {
	switch {
	case e.Kept != o.Kept:
		return !e.Kept
	case e.Proven() != o.Proven():
		return !e.Proven()
	case e.Fails != o.Fails:
		return e.Fails > o.Fails
	}
	return max(e.Seen, e.Good) < max(o.Seen, o.Good)
}

// Multiaddrs are the addresses of the peer, the best first.
func (e *Entry) Multiaddrs() []ma.Multiaddr {
	out := make([]ma.Multiaddr, 0, len(e.Addrs))
	for _, a := range e.sorted() {
		if m := a.Multiaddr(); m != nil {
			out = append(out, m)
		}
	}
	return out
}

// IP is the IP address that a multiaddr begins with, without disguises.
func IP(a ma.Multiaddr) (netip.Addr, bool) {
	raw, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap().WithZone(""), ok
}

// GroupOf is the neighbourhood of an address that one owner is likely to have as
// a whole: the /24 of IPv4, the /48 of IPv6.
func GroupOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, _ := ip.Prefix(bits)
	return p
}
