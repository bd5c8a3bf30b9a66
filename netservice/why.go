package netservice

import (
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers"
)

// PeerValue is what a peer is worth beside others when there is no place for all,
// by its parts. All but Useful are bounded.
type PeerValue struct {
	Total   float64 // the sum of the others
	Useful  float64 // 10 for each doubling of useful messages times their weight, half forgotten in 30 minutes
	Latency float64 // 0 to 5
	Age     float64 // 0 to 10, 10 after a day
	Gossip  float64 // -50 to 10, from its score in broadcasting
	Answers float64 // -20 to 10, from requests that it answered or failed
	Penalty float64 // -100 to 0, for what it did wrong
}

func peerValue(v peers.Value) PeerValue {
	return PeerValue{v.Total(), v.Useful, v.Latency, v.Age, v.Gossip, v.Answers, v.Penalty}
}

// PeerAddr is one known address of a peer.
type PeerAddr struct {
	Addr     string
	Source   string    // operator, peer, exchange, dns, lan, kademlia, application
	Seen     time.Time // last named
	Good     time.Time // last led to a session, zero for never
	Failures int       // attempts since then that did not
}

// PeerWhy is what is known of a peer, and why it is not connected.
type PeerWhy struct {
	Peer       peer.ID
	Connected  bool
	Reason     string // why it is not connected, empty when it is
	Reserved   bool
	Persistent bool      // named in Bootstrap, Static or Reserved, or by a call
	Next       time.Time // when it is dialled next, zero when that is not planned

	// How the last attempt or session ended.
	Last       DisconnectReason // ReasonNone when there was none
	LastAt     time.Time
	ByPeer     bool   // it was the peer that said so, or its host
	WasSession bool   // it was a session that ended
	Detail     string // of a failed attempt, cleaned

	Known    bool // the address book has it
	Agent    string
	Source   string // how it became known
	Teller   peer.ID
	Seen     time.Time
	Good     time.Time // last dialled with success
	Failures int       // in a row
	Addrs    []PeerAddr
	Banned   *Ban // that stands
}

// String says it in a line or more.
func (w PeerWhy) String() string {
	var b strings.Builder
	if w.Connected {
		fmt.Fprintf(&b, "%s is connected", w.Peer)
	} else {
		fmt.Fprintf(&b, "%s is not connected: %s", w.Peer, w.Reason)
	}
	if !w.Next.IsZero() && !w.Connected {
		fmt.Fprintf(&b, "; tried next in %s", max(0, time.Until(w.Next)).Round(time.Second))
	}
	for _, a := range w.Addrs {
		fmt.Fprintf(&b, "\n  %s, from %s, failures %d", a.Addr, a.Source, a.Failures)
	}
	return b.String()
}

// Why tells about any peer ever heard of: whether it is connected and, if not, by
// which limit, this node's or its own, and when it is tried next. A refusal by the
// limits of connections, streams, memory and files of a libp2p host is in Detail, with
// whose they are; the peer's have no code over TCP, where it just hangs up. The error
// says that peerID is none.
func (s *NebService) Why(peerID string) (PeerWhy, error) {
	p, err := parsePeerID(peerID)
	if err != nil {
		return PeerWhy{}, err
	}
	st := s.node.peers.Why(p)
	w := PeerWhy{
		Peer: p, Connected: st.Connected, Reason: st.Reason, Reserved: st.Reserved, Persistent: st.Persistent, Next: st.Next,
		Last: DisconnectReason(st.Last), LastAt: st.LastAt, ByPeer: st.ByRemote, WasSession: st.InSession, Detail: st.Detail, Known: st.Known,
	}
	if st.Ban != nil {
		w.Banned = &Ban{Peer: st.Ban.ID, Network: st.Ban.Prefix, Since: st.Ban.Since, Until: st.Ban.Until, Times: st.Ban.Times, Reason: st.Ban.Reason}
	}
	if !st.Known {
		return w, nil
	}
	e := st.Entry
	w.Agent, w.Source, w.Teller, w.Failures = obs.Clean(e.Agent), e.Source.String(), e.Teller, int(e.Fails)
	w.Seen, w.Good = unix(e.Seen), unix(e.Good)
	if w.Last == ReasonNone && e.Reason != 0 {
		w.Last = DisconnectReason(e.Reason) // of an earlier run
	}
	for _, a := range e.Addrs {
		if m := a.Multiaddr(); m != nil {
			w.Addrs = append(w.Addrs, PeerAddr{m.String(), a.Source.String(), unix(a.Seen), unix(a.Good), int(a.Fails)})
		}
	}
	return w, nil
}

func unix(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(t, 0)
}
