package session

import "fmt"

// Fault is a way in which a peer violates the protocol. It is counted under
// its name and given to Config.Penalise.
type Fault uint8

// The faults.
const (
	FaultNone      Fault = iota
	FaultOversize        // a frame longer than its type allows
	FaultCorrupt         // a length or compressed body that cannot be decoded
	FaultBomb            // a compressed body that exceeds its type's maximum or its own declaration
	FaultFlags           // a frame with unknown flags
	FaultTruncated       // a stream that ended in the middle of a frame
	FaultTimeout         // a frame that did not arrive within its time
	FaultStreams         // more streams of one type at once than allowed
	FaultStorm           // streams opened faster than allowed
	FaultControl         // a violation on the control stream
	FaultOffers          // more offers than allowed, or changed too often
	FaultNumber          // a stream of a number that was never offered
)

var faultNames = [...]string{
	"none", "oversize", "corrupt", "bomb", "flags", "truncated", "timeout", "streams", "storm", "control", "offers", "number",
}

func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return fmt.Sprintf("fault %d", uint8(f))
}

// Error makes a Fault an error.
func (f Fault) Error() string { return "peer violates the protocol: " + f.String() }
