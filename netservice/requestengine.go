package netservice

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/reqresp"
	"github.com/go-nebnet/nebnet/internal/session"
)

// requestConfig joins requests with the peer set and the offers of the sessions.
func (n *Node) requestConfig() reqresp.Config {
	return reqresp.Config{
		Network: n.network, Obs: n.obs, Rand: n.opts.random.For("requests"),
		Peers: requestPeers{n}, Offers: requestOffers{n},
		Penalise: func(p peer.ID, f reqresp.Fault) { n.peers.Penalise(p, requestFaultWeight(f)) },
		Report:   n.callEnded,
	}
}

// requestPeers tells requests who may be asked and served.
type requestPeers struct{ n *Node }

func (r requestPeers) SessionConn(p peer.ID) network.Conn {
	if k := r.n.peerSet.get(p); k != nil {
		return k.conn
	}
	return nil
}

func (r requestPeers) Admit(p peer.ID) bool { return r.n.peerSet.member(p) }

// requestOffers keeps methods among the offers of the sessions. The kind of a
// method is a property of its offer.
type requestOffers struct{ n *Node }

func kindProperty(k reqresp.Kind) session.Properties { return session.FirstOfMethods << (k - 1) }

func (r requestOffers) Offer(s *reqresp.Spec) (uint32, error) {
	return r.n.engine.Offer(session.Offer{
		Kind: session.KindMethod, Name: s.Name, MaxSize: s.MaxRequest,
		Properties: session.Taken | kindProperty(s.Kind),
	})
}

func (r requestOffers) Withdraw(s *reqresp.Spec) { r.n.engine.Withdraw(session.KindMethod, s.Name) }

func (r requestOffers) Offered(p peer.ID, name string) (uint32, reqresp.Kind, bool) {
	k := r.n.peerSet.get(p)
	if k == nil {
		return 0, 0, false
	}
	o, number, ok := k.session.Offered(session.KindMethod, name)
	if !ok {
		return 0, 0, false
	}
	for _, kind := range []reqresp.Kind{reqresp.Unary, reqresp.Stream, reqresp.Upload} {
		if o.Properties&kindProperty(kind) != 0 {
			return number, kind, true
		}
	}
	return 0, 0, false
}

// callEnded tells the peer manager what a call says of a peer. An answer of any kind
// is one; that the connection broke says nothing.
func (n *Node) callEnded(p peer.ID, o reqresp.Outcome) {
	k := n.peerSet.get(p)
	if k == nil {
		return
	}
	if t, ok := errors.AsType[*reqresp.TransportError](o.Err); !ok || t.Timeout() {
		k.admission.Answered(!ok)
	}
}

// badRequest counts a request or an answer that its codec refuses, and holds it
// against the peer that sent it.
func (n *Node) badRequest(from peer.ID, method string, err error) {
	n.obs.ByType(obs.RequestUndecodable, method).Inc(1)
	n.obs.Log("requests").WithField("peer", from.String()).WithField("method", method).
		WithField("error", obs.Clean(err.Error())).Debug("does not decode")
	n.peers.Penalise(from, penaltyUndecodable)
}

func requestFaultWeight(f reqresp.Fault) float64 {
	switch f {
	case reqresp.FaultStalled:
		return 1 // a line may break down
	case reqresp.FaultReused, reqresp.FaultUnsolicited, reqresp.FaultStreams:
		return 10
	}
	return 34
}
