package reqresp

// callTable is the calls that are under way on one stream, for its caller. It
// gives each a number of its own, in rising order from 1.
type callTable struct {
	last uint64
	open map[uint64]*call
}

// callState is what a number in a frame of the peer stands for.
type callState int

const (
	current     callState = iota
	former                // a call that has ended here: its answers were on their way
	unsolicited           // no call ever had that number
)

func (t *callTable) add(k *call) uint64 {
	t.last++
	if t.open == nil {
		t.open = make(map[uint64]*call)
	}
	t.open[t.last] = k
	return t.last
}

func (t *callTable) get(n uint64) (*call, callState) {
	if k := t.open[n]; k != nil {
		return k, current
	}
	if n <= t.last {
		return nil, former
	}
	return nil, unsolicited
}

func (t *callTable) remove(n uint64) { delete(t.open, n) }
