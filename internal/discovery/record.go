package discovery

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
)

// parseRecord verifies a signed peer record: an envelope of the peer record
// type, signed by the key that the peer ID stands for.
//
// An answerer passes on only what it has put through here itself, so that a
// peer cannot make others violate the protocol by the record it gives them.
func parseRecord(b []byte) (*peer.PeerRecord, error) {
	if len(b) > MaxRecord {
		return nil, faultf(FaultOversize, "record of %d bytes", len(b))
	}
	var rec peer.PeerRecord
	env, err := record.ConsumeTypedEnvelope(b, &rec)
	switch {
	case err != nil:
		return nil, faultf(FaultRecord, "%v", err)
	case string(env.PayloadType) != string(rec.Codec()):
		return nil, faultf(FaultRecord, "payload is no peer record")
	case !rec.PeerID.MatchesPublicKey(env.PublicKey):
		return nil, faultf(FaultRecord, "not signed by its peer")
	}
	return &rec, nil
}

// parseRecords verifies the records of one reply, all of them or none.
func parseRecords(raw [][]byte) ([]*peer.PeerRecord, error) {
	seen := make(map[peer.ID]bool, len(raw))
	out := make([]*peer.PeerRecord, 0, len(raw))
	for _, b := range raw {
		rec, err := parseRecord(b)
		if err != nil {
			return nil, err
		}
		if seen[rec.PeerID] {
			return nil, faultf(FaultCount, "a peer twice")
		}
		seen[rec.PeerID] = true
		out = append(out, rec)
	}
	return out, nil
}
