package peers

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// logFailed logs an attempt that has failed. Where another peer answers in place
// of one to keep, somebody has the wrong address or lost a key: that is a warning,
// when say asks for it.
func (m *Manager) logFailed(ai peer.AddrInfo, say bool, err error) {
	fields := logrus.Fields{"peer": ai.ID.String(), "addrs": len(ai.Addrs), "error": dialCauses(err)}
	m.cfg.Obs.Log("peers").WithFields(fields).Debug("dial failed")
	if other := mismatch(err); other != nil && say {
		fields["answers"] = other.Actual.String()
		m.cfg.Obs.Log("peers").WithFields(fields).Warn("another peer answers at the address of this one")
	}
}

// mismatch is the answer of another peer than the one that was dialled, nil when
// there was none.
func mismatch(err error) *sec.ErrPeerIDMismatch {
	if other, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return &other
	}
	return nil
}

// wrongKey tells whether another peer answers at every address that was dialled.
func wrongKey(err error) bool {
	failed, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(failed.DialErrors) == 0 {
		return mismatch(err) != nil
	}
	for _, e := range failed.DialErrors {
		if mismatch(e.Cause) == nil {
			return false
		}
	}
	return true
}

// maxCauses bounds the addresses that one log line is about.
const maxCauses = 4

// dialCauses is what went wrong: at each address, where the host says so.
func dialCauses(err error) []string {
	failed, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(failed.DialErrors) == 0 {
		return []string{obs.Clean(err.Error())}
	}
	var causes []string
	for _, e := range failed.DialErrors[:min(len(failed.DialErrors), maxCauses)] {
		causes = append(causes, obs.Clean(fmt.Sprintf("%s: %v", e.Address, e.Cause)))
	}
	return causes
}

// firstCause is one line about why an attempt failed. An own limit comes first, as it
// alone says that nothing is wrong with the peer.
func firstCause(err error) string {
	if failed, ok := errors.AsType[*swarm.DialError](err); ok {
		for _, e := range failed.DialErrors {
			if ownLimit(e.Cause) {
				return fmt.Sprintf("%s: %v", e.Address, e.Cause)
			}
		}
	}
	return dialCauses(err)[0]
}
