package gossip

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// lane is the router's tracer. The router calls it from its loop and from its
// validation workers; nothing here blocks.
var _ pubsub.RawTracer = (*lane)(nil)

// OnNewOutboundStream notes a peer that can be sent to.
func (l *lane) OnNewOutboundStream(p peer.ID, id protocol.ID) {
	// A stream begins with what this node has joined, or with nothing.
	l.backlog.opened(p, l.joined > 0)
	if early := l.tracker.open(p, id); early != nil {
		l.e.spawn(func() { _ = l.do(l.e.work, func() { l.rt.HandleRPC(early.rpc()) }) })
	}
	l.e.stir()
}

// OnClosedOutboundStream forgets the peer, which has left every mesh.
func (l *lane) OnClosedOutboundStream(p peer.ID) {
	l.forgetFrames(p)
	l.gone(p)
}

// gone forgets what the router knows of a peer.
func (l *lane) gone(p peer.ID) {
	l.grafts.forget(p)
	for _, name := range l.tracker.closed(p) {
		if t := l.e.byName(name); t != nil {
			t.mesh.Add(-1)
		}
	}
}

// forgetFrames counts the messages that waited for a peer's stream, which has
// ended, or could not be opened.
func (l *lane) forgetFrames(p peer.ID) {
	for _, m := range l.backlog.forget(p) {
		if t := l.e.byName(m.GetTopic()); t != nil {
			t.n.dropped.Inc(1)
		}
	}
}

// Join counts the topics that the router has joined.
func (l *lane) Join(string) { l.joined++ }

// Leave counts them too; each mesh peer is pruned.
func (l *lane) Leave(string) { l.joined-- }

// Graft notes a mesh peer.
func (l *lane) Graft(p peer.ID, name string) {
	if l.tracker.graft(p, name) {
		if t := l.e.byName(name); t != nil {
			t.mesh.Add(1)
		}
	}
	l.grafts.add(p, name)
	l.e.stir()
}

// Prune forgets a mesh peer.
func (l *lane) Prune(p peer.ID, name string) {
	l.grafts.remove(p, name)
	if l.tracker.prune(p, name) {
		if t := l.e.byName(name); t != nil {
			t.mesh.Add(-1)
		}
	}
}

// ValidateMessage is ignored: the engine validates.
func (l *lane) ValidateMessage(*pubsub.Message) {}

// DeliverMessage is ignored: the engine delivered before.
func (l *lane) DeliverMessage(*pubsub.Message) {}

// RejectMessage counts what the router refused by itself.
func (l *lane) RejectMessage(m *pubsub.Message, reason string) {
	t := l.e.byName(m.GetTopic())
	if t == nil {
		return
	}
	switch reason {
	case pubsub.RejectValidationFailed, pubsub.RejectValidationIgnored:
		// counted with the verdict
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		t.miss(m)
	default:
		t.n.rejected.Inc(1)
	}
}

// DuplicateMessage counts a copy, unless the message was turned away: then it is
// taken now.
func (l *lane) DuplicateMessage(m *pubsub.Message) {
	t := l.e.byName(m.GetTopic())
	if t == nil {
		return
	}
	if t.away.hold(m.ID, func() [32]byte { return sumOf(m) }) && l.retake(t, m) {
		t.n.retaken.Inc(1)
		return
	}
	t.n.duplicates.Inc(1)
}

// ThrottlePeer is ignored: there is no peer gater.
func (l *lane) ThrottlePeer(peer.ID) {}

// UndeliverableMessage is ignored: there are no subscriptions.
func (l *lane) UndeliverableMessage(*pubsub.Message) {}

// RecvRPC counts what came in.
func (l *lane) RecvRPC(rpc *pubsub.RPC) {
	for _, m := range rpc.GetPublish() {
		if t := l.e.byName(m.GetTopic()); t != nil {
			t.n.bytesIn.Inc(int64(len(m.GetData())))
		}
	}
	for _, s := range rpc.GetSubscriptions() {
		if t := l.e.byName(s.GetTopicid()); t != nil && t.in(l) {
			l.tracker.subscribed(rpc.From(), t.Name, s.GetSubscribe())
			l.e.stir()
		}
	}
}

// SendRPC counts what a peer's queue took.
func (l *lane) SendRPC(rpc *pubsub.RPC, p peer.ID) {
	for _, m := range rpc.GetPublish() {
		if s := l.sending; s != nil && s.msg == m {
			s.handed++
		}
		if t := l.e.byName(m.GetTopic()); t != nil {
			t.n.bytesOut.Inc(int64(len(m.GetData())))
		}
	}
	size := proto.Size(&rpc.RPC)
	if l.backlog.put(p, size+sizeVarint(size), rpc.GetPublish()) {
		l.e.cutOff(l, p)
	}
}

// SendRPCCompleted is ignored: the streams tell what was written of each frame.
func (l *lane) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}

// DropRPC counts what it did not take.
func (l *lane) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	for _, m := range rpc.GetPublish() {
		if s := l.sending; s != nil && s.msg == m && l.tracker.isOpen(p) {
			s.full++
		}
		if t := l.e.byName(m.GetTopic()); t != nil {
			t.n.dropped.Inc(1)
		}
	}
}

func sizeVarint(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
