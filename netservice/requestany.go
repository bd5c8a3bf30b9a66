package netservice

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/reqresp"
)

// Policy says which peers Method.Any asks, and how. The zero value asks the best
// four of all that serve the method.
type Policy[Ans any] struct {
	// Capability is a word that a peer must have told in its handshake
	// (Config.Capabilities). Default: none.
	Capability string
	// Filter is a further condition, such as on the peer's Payload. Default: none.
	Filter func(PeerInfo) bool
	// Attempts bounds the peers that are asked. Default: 4.
	Attempts int
	// Hedge is the time after which another peer is asked beside. Default: what 95 of
	// 100 answers of the method took, and a fourth of its deadline while there were too
	// few. Negative: another one is asked only when one has failed.
	Hedge time.Duration
	// Accept judges an answer: with an error, the next peer is asked. Default: all are
	// good.
	Accept func(from peer.ID, ans Ans) error
}

// Any asks one of the peers that serve the method: the one that is expected to
// answer first, by its round trip, its earlier answers and failures, and what it
// has to do for this node already. When it fails the next one is asked, and when it
// takes longer than most, beside it: the first good answer counts. Errors: ErrNoPeers
// when nobody serves the method; else those of all who were asked, joined, which are
// those of Call.
func (m *Method[Req, Ans]) Any(ctx context.Context, s *NebService, req Req, policy Policy[Ans]) (Ans, peer.ID, error) {
	var zero Ans
	data, err := m.encode(s, req)
	if err != nil {
		return zero, "", err
	}
	var peers []reqresp.Candidate
	for _, p := range s.Peers() {
		if _, kind, ok := (requestOffers{s.node}).Offered(p.ID, m.spec.Name); !ok || kind != m.spec.Kind {
			continue
		}
		if (policy.Capability == "" || slices.Contains(p.Capabilities, policy.Capability)) && (policy.Filter == nil || policy.Filter(p)) {
			peers = append(peers, reqresp.Candidate{Peer: p.ID, RTT: p.RTT})
		}
	}
	if len(peers) == 0 {
		return zero, "", fmt.Errorf("call %s: %w", m.spec.Name, ErrNoPeers)
	}
	got, from, err := s.node.requests.Any(ctx, peers, &m.spec, data, reqresp.Choice{
		Attempts: policy.Attempts, Hedge: policy.Hedge,
		Accept: func(from peer.ID, data []byte) error {
			// Decoded twice, and a codec may keep what it is given: the answer that
			// counts is decoded once more, by the goroutine that returns it.
			ans, err := m.decode(s, from, slices.Clone(data))
			if err == nil && policy.Accept != nil {
				if err = policy.Accept(from, ans); err != nil {
					err = fmt.Errorf("%w: %s", ErrBadAnswer, obs.Clean(err.Error()))
				}
			}
			return err
		},
	})
	if err != nil {
		return zero, "", requestError(err)
	}
	ans, err := m.decode(s, from, got)
	return ans, from, err
}
