package reqresp

// Fault is a violation of the protocol by a peer. It is an error and a metric
// label.
type Fault string

// The faults. The stream on which one is found is reset, but for FaultReused and
// FaultUnsolicited: what they are about is dropped.
const (
	FaultHead        Fault = "head"        // the first field of a stream
	FaultFrame       Fault = "frame"       // what is no frame, or one that is too large
	FaultOrder       Fault = "order"       // a frame that this side must not send, or not now
	FaultCredit      Fault = "credit"      // more was sent than there was credit for
	FaultOversize    Fault = "oversize"    // an answer above the size that its method allows
	FaultReused      Fault = "reused"      // the number of an earlier call
	FaultUnsolicited Fault = "unsolicited" // an answer to a call that was never made
	FaultStreams     Fault = "streams"     // streams opened too fast
	FaultStalled     Fault = "stalled"     // a peer that takes no answers
)

func (f Fault) Error() string { return "protocol violation: " + string(f) }
