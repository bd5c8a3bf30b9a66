package testkit

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// PastRecords waits until no record that this process has signed is of the future.
//
// libp2p numbers all records of a process by one clock that only goes forward, and each
// bubble begins in the year 2000. So whether a record is taken as dated depends on the
// tests that ran before, and may change in the middle of a test.
func PastRecords() {
	time.Sleep(time.Until(time.Unix(0, int64(peer.TimestampSeq()))))
}
