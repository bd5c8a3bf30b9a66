package dispatcher

// dropIndex is a DropReason as an index, for counting without a map.
type dropIndex uint8

const (
	iQueueFull dropIndex = iota
	iSubscriberFull
	iPanic
	iOldest
	iReplaced
	iDeregistered
	iStopped
	dropReasons
)

var dropNames = [dropReasons]DropReason{
	iQueueFull:      DropQueueFull,
	iSubscriberFull: DropSubscriberFull,
	iPanic:          DropPanic,
	iOldest:         DropOldestWaiting,
	iReplaced:       DropReplaced,
	iDeregistered:   DropDeregistered,
	iStopped:        DropStopped,
}

type dropCounts [dropReasons]uint64

func (c *dropCounts) add(o dropCounts) {
	for i := range c {
		c[i] += o[i]
	}
}

func (c *dropCounts) sum() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// toMap leaves out what is zero.
func (c *dropCounts) toMap() map[DropReason]uint64 {
	m := make(map[DropReason]uint64)
	for i, v := range c {
		if v > 0 {
			m[dropNames[i]] = v
		}
	}
	return m
}
