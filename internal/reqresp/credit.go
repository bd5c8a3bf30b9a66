package reqresp

// Credit bounds what a sender of a stream of messages may have on its way that
// its receiver has not used. Both sides count alike: the bytes of the messages,
// and messageCost for each message.
const (
	messageCost = 64
	// minWindow is the least that a receiver may grant at first; uploadWindow is
	// what a server grants without saying so.
	minWindow    = 64 << 10
	uploadWindow = 64 << 10
	maxWindow    = 16 << 20
)

// inflow is the receiver's side of a stream of messages. What it takes in is
// given back as credit when the program has used it, or at once while the program
// waits for the end of that very message: so a message may be larger than the
// window. What is held is at most the window and one message.
type inflow struct {
	window int
	out    int // credit that the sender has, or has used and not got back
	owed   int // to be given back, but not worth a frame yet
	part   int // of the message that is coming in, not given back yet
}

func newInflow(window int) inflow { return inflow{window: window, out: window} }

// arrived books a piece of a message. waiting tells whether the program has used
// everything before that message. It is false when the peer had no credit for it.
func (f *inflow) arrived(cost int, waiting bool) bool {
	if cost > f.out {
		return false
	}
	f.out -= cost
	if waiting {
		f.owed += f.part + cost
		f.part = 0
	} else {
		f.part += cost
	}
	return true
}

// completed ends a message and returns what using it gives back.
func (f *inflow) completed() (size int) {
	size, f.part = f.part, 0
	return size
}

// used books that the program has taken a message; last says that it has
// taken everything that was complete.
func (f *inflow) used(size int, last bool) {
	f.owed += size
	if last {
		f.owed += f.part
		f.part = 0
	}
}

// grant returns the credit to be sent to the peer now, which is 0 until there is
// enough of it for a frame.
func (f *inflow) grant() int {
	if f.owed < f.window/4 {
		return 0
	}
	n := f.owed
	f.owed, f.out = 0, f.out+n
	return n
}

// fragment returns how many bytes of a message may go into the next frame, of
// those that are left, and -1 when that has to wait for credit. Without flow
// control, credit is negative.
func fragment(left, credit int, begins bool) int {
	n := min(left, maxFragment)
	if credit < 0 {
		return n
	}
	if begins {
		credit -= messageCost
	}
	// A few bytes at a time would be all header: the receiver gives back a
	// quarter of its window or more, which is enough for a whole fragment.
	if credit < min(n, minWindow/8) {
		return -1
	}
	return min(n, credit)
}
