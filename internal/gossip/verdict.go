package gossip

// Verdict is what a validator decides. The zero Verdict is Ignore.
type Verdict struct {
	action action
	key    string
}

type action uint8

const (
	actIgnore action = iota
	actAccept
	actReject
	actDefer
)

// Accept delivers the message, and forwards it unless the type is relayed
// explicitly.
func Accept() Verdict { return Verdict{action: actAccept} }

// Ignore drops the message; its sender is not blamed. Further copies are
// duplicates until SeenTTL has passed.
func Ignore() Verdict { return Verdict{} }

// Reject drops the message, and lowers the score of every peer that sent it.
func Reject() Verdict { return Verdict{action: actReject} }

// Defer keeps the message until Resume is called with the same key, say the
// hash of the missing parent block. Then it is validated again. After the
// type's ParkTime it is dropped.
func Defer(key string) Verdict { return Verdict{action: actDefer, key: key} }

// Deferred returns the key of a Defer.
func (v Verdict) Deferred() (key string, ok bool) { return v.key, v.action == actDefer }

func (v Verdict) String() string {
	switch v.action {
	case actAccept:
		return "accept"
	case actReject:
		return "reject"
	case actDefer:
		return "defer"
	}
	return "ignore"
}
