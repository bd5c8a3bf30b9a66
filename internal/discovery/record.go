package discovery

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
)

// signedRecord is a peer record that its peer has signed. Nobody changes it.
type signedRecord struct {
	*peer.PeerRecord
	raw []byte // as it came
	env *record.Envelope
}

// verify takes an envelope of the peer record type, signed by the key that the peer ID
// stands for.
func verify(b []byte) (*signedRecord, error) {
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
	return &signedRecord{PeerRecord: &rec, raw: b, env: env}, nil
}

// maxAhead is by how much the clock of a peer may be ahead of this node's before its
// records count as undated.
const maxAhead = 10 * time.Minute

// dated is the sequence number of a record that another peer has passed on, as far as it
// is believed. Such numbers are times, in nanoseconds, by the clock of the peer that
// signs. One from the future tells nothing of when that was: the clock was ahead, and
// whoever keeps the record could hold it against all that the peer signs after its clock
// was set right. It becomes one that is smaller than all that are believed. Those keep
// their order: it may be this node's clock that is wrong.
func dated(now time.Time, seq uint64) uint64 {
	if seq > nanoseconds(now.Add(maxAhead)) {
		return seq >> 16
	}
	return seq
}

// heard is the sequence number of a record in which a peer tells of itself now: it is no
// later than that, whatever the peer's clock says.
func heard(now time.Time, seq uint64) uint64 {
	if at := nanoseconds(now); seq > at {
		return max(at, seq>>16) // what others pass on of the same record is not newer
	}
	return seq
}

// nanoseconds is a time as sequence numbers are, 0 before 1970.
func nanoseconds(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }
