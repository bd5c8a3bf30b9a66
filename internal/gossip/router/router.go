package router

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Router is the state of one node. It is not safe for concurrent use. Make one with
// New.
type Router struct {
	cfg Config
	rng *rand.Rand

	now      time.Time     // of this step
	clock    time.Duration // the same, since the first step: a third of a time.Time in the book
	out      []Effect      // of this step
	speakers []*Peer       // those with something to be told at the end of this step
	wakeAt   time.Time     // zero: nothing is due before the next tick
	ticks    uint64

	peers  map[peer.ID]*Peer
	order  []*Peer // the same, in the order in which they came
	direct map[peer.ID]struct{}
	topics map[string]*Topic
	list   []*Topic // the same

	book       map[string]*entry
	unused     []entry // for the next messages
	fifo       fifo
	spare      []*live  // of entries that were decided
	history    []tickOf // by age in ticks, the newest first
	kept       int      // bytes in history
	said       uint64   // number of the last message in history
	promises   []promise
	deferrals  deferrals
	fullPeers  int // peers that are full and not slow
	fullTopics int // topics that are

	began   time.Time // the first step
	decayed time.Time
}

// Topic is a topic that is declared.
type Topic struct {
	spec          TopicSpec
	joined        bool
	peers         []*topicPeer // of peers that subscribe
	mesh          []*topicPeer
	fanout        []*topicPeer
	lastPublished time.Time

	queue        fairQueue
	pressure     pressure // of queue
	pending      []*entry // own messages that wait for a first peer
	pendingBytes int
	retry        retryList

	counts Counts
}

// New makes a router that knows nobody. rng decides whom it chooses.
func New(cfg Config, rng *rand.Rand) *Router {
	return &Router{
		cfg: cfg, rng: rng,
		peers:     make(map[peer.ID]*Peer),
		direct:    make(map[peer.ID]struct{}),
		topics:    make(map[string]*Topic),
		book:      make(map[string]*entry),
		history:   make([]tickOf, max(cfg.Mesh.HistoryLength, 1)),
		deferrals: newDeferrals(),
	}
}

// Step takes one event and returns what is to be done about it, in order. The
// slice is overwritten by the next call. now may not go backwards.
func (r *Router) Step(ev Event, now time.Time) []Effect {
	if r.began.IsZero() {
		r.began, r.decayed = now, now
	}
	r.now, r.clock = now, now.Sub(r.began)
	clear(r.out)
	r.out = r.out[:0]
	switch ev.Kind {
	case Tick:
		r.tick()
	case Wake:
		r.wake()
	case Opened:
		r.opened(ev)
	case Closed:
		r.closed(ev)
	case Heard:
		r.peer(ev.Peer).in = true
	case Silent:
		r.silent(ev)
	case Member:
		r.setMember(ev)
	case Bound:
		r.setBound(ev)
	case Unvalidated:
		r.setUnvalidated(ev)
	case Direct:
		r.setDirect(ev)
	case Addrs:
		r.setAddrs(ev)
	case AppScore:
		if p := r.peers[ev.Peer]; p != nil && p.stats.app != ev.Value {
			p.stats.app, p.stats.dirty = ev.Value, true
		}
	case Fault:
		r.fault(r.peer(ev.Peer))
	case Control:
		r.heardControl(ev)
	case Received:
		r.received(ev.Msg)
	case Copy:
		r.copied(ev)
	case Forged:
		r.forged(ev)
	case Invalid:
		if t := r.topics[ev.Topic]; t != nil {
			r.chargeInvalid(t, r.peers[ev.Peer], "")
		}
	case Validated:
		r.validated(ev)
	case Publish:
		r.publish(ev.Msg)
	case Relay:
		r.relay(ev.Msg)
	case Withdraw:
		r.withdraw(ev.Msg)
	case Dropped:
		r.dropped(ev)
	case Full:
		if p := r.peers[ev.Peer]; p != nil && p.out {
			r.setFull(p, ev.On)
		}
	case Loaded:
		if p := r.peers[ev.Peer]; p != nil {
			r.addLoad(p, ev.Load)
		}
	case Declare:
		r.declare(*ev.Spec)
	case Retract:
		r.retract(ev.Topic)
	case Join:
		r.join(ev.Topic)
	case Leave:
		r.leave(ev.Topic)
	case Resume:
		r.resume(ev.Key)
	case Stop:
		r.stop()
	}
	r.speak()
	return r.out
}

// Wake returns when Step wants a Wake event, zero if it can wait for the next Tick.
func (r *Router) Wake() time.Time { return r.wakeAt }

func (r *Router) wakeBy(at time.Time) {
	if r.wakeAt.IsZero() || at.Before(r.wakeAt) {
		r.wakeAt = at
	}
}

// wake does what could not wait for the heartbeat.
func (r *Router) wake() {
	r.wakeAt = time.Time{}
	r.askRetry()
	r.tellAll()
}

// tick is the heartbeat.
func (r *Router) tick() {
	r.ticks++
	r.decay()
	r.breakPromises()
	r.newAllowance()
	r.watchFull()
	for _, t := range r.list {
		r.maintainMesh(t)
		r.maintainFanout(t)
		r.timeOut(t)
		r.expirePending(t)
	}
	r.gossip()
	r.tellMissed()
	r.shift()
	r.expireDeferred(nil)
	r.expireSeen()
	r.forgetAbsent()
	r.wake()
}

// newAllowance lets every peer say as much again as in the last heartbeat.
func (r *Router) newAllowance() {
	for _, p := range r.order {
		p.spent = spent{}
		for id, until := range p.refused {
			if r.ticks >= until {
				delete(p.refused, id)
			}
		}
	}
}

func (r *Router) declare(spec TopicSpec) {
	if t := r.topics[spec.Name]; t != nil {
		t.spec = spec
		for _, p := range r.order {
			if tp := p.find(t); tp != nil {
				r.rescore(tp)
			}
		}
		r.nextChecks(t)
		return
	}
	t := &Topic{spec: spec, retry: newRetryList(), counts: Counts{Away: make(map[string]int64)}}
	r.topics[spec.Name] = t
	r.list = append(r.list, t)
	for _, p := range r.order {
		if i := slices.Index(p.heard, spec.Name); i >= 0 {
			p.heard = slices.Delete(p.heard, i, i+1)
			r.subscribe(p.topicPeer(t))
		}
	}
}

func (r *Router) retract(name string) {
	t := r.topics[name]
	if t == nil {
		return
	}
	r.leave(name)
	delete(r.topics, name)
	r.list = slices.DeleteFunc(r.list, func(o *Topic) bool { return o == t })
	r.forgetMessages(t)
	for _, p := range r.order {
		tp := p.find(t)
		if tp == nil {
			continue
		}
		if tp.subscribed && len(p.heard) < maxHeard {
			p.heard = append(p.heard, name) // it may be declared again
		}
		p.topics = slices.DeleteFunc(p.topics, func(o *topicPeer) bool { return o == tp })
		r.rescoreAll(p)
	}
	t.peers, t.mesh, t.fanout = nil, nil, nil
}

func (r *Router) stop() {
	for _, t := range r.list {
		r.expireDeferred(t)
		for _, e := range t.pending {
			t.counts.Unsent++
			r.forget(e)
		}
		t.pending, t.pendingBytes = nil, 0
	}
}
