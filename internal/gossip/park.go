package gossip

import (
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxResumed is how many keys are remembered after their Resume, so that a
	// verdict that was under way meanwhile is not parked in vain.
	maxResumed = 1024
	resumedFor = time.Minute
)

// parkLimits bound a parking.
type parkLimits struct {
	total, bytes, perPeer, perKey int
}

// parked is one deferred message.
type parked struct {
	t     *topic
	m     Message
	key   string
	until time.Time
}

// parking holds deferred messages. It is a plain structure: callers lock.
type parking struct {
	limits  parkLimits
	bytes   int
	total   int
	byKey   map[string][]*parked
	perPeer map[peer.ID]int

	epoch   atomic.Uint64 // counts resumptions; to be read without the lock
	resumed map[string]resumption
	order   []string // of resumed, oldest first
}

// resumption is the last one of a key.
type resumption struct {
	at    time.Time
	epoch uint64
}

func newParking(l parkLimits) *parking {
	return &parking{
		limits:  l,
		byKey:   make(map[string][]*parked),
		perPeer: make(map[peer.ID]int),
		resumed: make(map[string]resumption),
	}
}

// fate is what became of a message that wanted to be parked.
type fate uint8

const (
	stays fate = iota
	noRoom
	resumedMeanwhile // its key was resumed since its validation began; it has a place
)

// add parks p, whose validation began in the epoch since.
func (k *parking) add(p *parked, since uint64) fate {
	size := len(p.m.Data)
	if k.total >= k.limits.total || k.bytes+size > k.limits.bytes ||
		k.perPeer[p.m.From] >= k.limits.perPeer || len(k.byKey[p.key]) >= k.limits.perKey {
		return noRoom
	}
	k.total++
	k.bytes += size
	k.perPeer[p.m.From]++
	if k.resumed[p.key].epoch > since {
		return resumedMeanwhile
	}
	k.byKey[p.key] = append(k.byKey[p.key], p)
	return stays
}

// resume takes out all messages of a key. Each keeps its place until gone is
// called for it.
func (k *parking) resume(key string, now time.Time) []*parked {
	if _, ok := k.resumed[key]; !ok {
		if len(k.order) >= maxResumed {
			delete(k.resumed, k.order[0])
			k.order = k.order[1:]
		}
		k.order = append(k.order, key)
	}
	k.resumed[key] = resumption{now, k.epoch.Add(1)}
	out := k.byKey[key]
	delete(k.byKey, key)
	return out
}

// expire takes out all messages whose time is over or whose topic is t; nil is
// no topic.
func (k *parking) expire(now time.Time, t *topic) []*parked {
	for len(k.order) > 0 && now.Sub(k.resumed[k.order[0]].at) > resumedFor {
		delete(k.resumed, k.order[0])
		k.order = k.order[1:]
	}
	var out []*parked
	for key, ps := range k.byKey {
		keep := ps[:0]
		for _, p := range ps {
			if p.t != t && now.Before(p.until) {
				keep = append(keep, p)
				continue
			}
			out = append(out, p)
			k.gone(p)
		}
		clear(ps[len(keep):])
		if len(keep) == 0 {
			delete(k.byKey, key)
		} else {
			k.byKey[key] = keep
		}
	}
	return out
}

// gone frees the place of a message.
func (k *parking) gone(p *parked) {
	k.total--
	k.bytes -= len(p.m.Data)
	if k.perPeer[p.m.From]--; k.perPeer[p.m.From] <= 0 {
		delete(k.perPeer, p.m.From)
	}
}
