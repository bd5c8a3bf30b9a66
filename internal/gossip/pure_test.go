package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
)

func TestPresetsAreValid(t *testing.T) {
	for name, p := range map[string]Params{"small": SmallNetwork(), "public": PublicNetwork(), "fast": LowLatency()} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParamsNameTheirMistakes(t *testing.T) {
	for field, edit := range map[string]func(*Params){
		"Dlo":               func(p *Params) { p.Dlo = 0 },
		"Dhi":               func(p *Params) { p.Dhi = p.D },
		"Dscore":            func(p *Params) { p.Dscore = p.D + 1 },
		"Dout":              func(p *Params) { p.Dout = p.D / 2 },
		"Dlazy":             func(p *Params) { p.Dlazy = -1 },
		"HistoryGossip":     func(p *Params) { p.HistoryGossip = p.HistoryLength + 1 },
		"DontWantAbove":     func(p *Params) { p.DontWantAbove = 0 },
		"Heartbeat":         func(p *Params) { p.Heartbeat = 0 },
		"PruneBackoff":      func(p *Params) { p.PruneBackoff = 0 },
		"MaxBackoff":        func(p *Params) { p.MaxBackoff = p.PruneBackoff - 1 },
		"InvalidDecay":      func(p *Params) { p.InvalidDecay = 0 },
		"GossipFactor":      func(p *Params) { p.GossipFactor = math.NaN() },
		"GossipThreshold":   func(p *Params) { p.GossipThreshold = 1 },
		"PublishThreshold":  func(p *Params) { p.PublishThreshold = 0 },
		"GraylistThreshold": func(p *Params) { p.GraylistThreshold = math.Inf(-1) },
		"InvalidWeight":     func(p *Params) { p.InvalidWeight = 1 },
		"ColocationFree":    func(p *Params) { p.ColocationWeight = -1 },
		"TopicCap":          func(p *Params) { p.TopicCap = 0 },
	} {
		p := SmallNetwork()
		edit(&p)
		var ce *ConfigError
		if err := p.Validate(); !errors.As(err, &ce) || !strings.Contains(err.Error(), "Params."+field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfigNamesItsMistakes(t *testing.T) {
	err := Config{Pending: -1, SeenTTL: 1, MaxBulkSize: 10}.Validate()
	for _, field := range []string{"Host", "Network", "Deliver", "Pending", "SeenTTL", "MaxBulkSize"} {
		if err == nil || !strings.Contains(err.Error(), "gossip: "+field+":") {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
	c := Config{Network: "n"}.withDefaults()
	for field, topic := range map[string]Topic{
		"Type":        {},
		"Name":        {Type: "t", Name: strings.Repeat("x", 1000)},
		"MaxSize":     {Type: "t", MaxSize: 1 << 30},
		"Deadline":    {Type: "t", Deadline: -1},
		"Concurrency": {Type: "t", Concurrency: -1},
		"OnFull":      {Type: "t", OnFull: 9},
	} {
		if err := topic.withDefaults(&c).validate(&c); err == nil || !strings.Contains(err.Error(), "Topic."+field+":") {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// A peer that brings nothing ends at the graylist, one that brings a quarter of
// what is expected does not lose.
func TestDeliveryScore(t *testing.T) {
	p := SmallNetwork()
	s := p.topicScore(TopicScore{PerSecond: 10})
	deficit := s.MeshMessageDeliveriesThreshold
	if got := s.MeshMessageDeliveriesWeight * deficit * deficit; math.Abs(got-p.GraylistThreshold) > 1e-9 {
		t.Errorf("nothing brought scores %v", got)
	}
	settled := 0.25 * 10 / (1 - s.MeshMessageDeliveriesDecay)
	if settled < s.MeshMessageDeliveriesThreshold-1e-9 {
		t.Errorf("a quarter settles at %v, below %v", settled, s.MeshMessageDeliveriesThreshold)
	}
}

// The ID as the package's documentation has it, computed once by other means:
// (printf 'nebnet/gossip/1\x05topicdata') | sha256sum
func TestContentID(t *testing.T) {
	const want = "ce44bac12faa0ce21bb8bb3981da9bd6b485067b"
	got := fmt.Sprintf("%x", ContentID("topic", []byte("data"), "", nil))
	if got != want {
		t.Errorf("%s", got)
	}
	if ContentID("topicd", []byte("ata"), "", nil) == ContentID("topic", []byte("data"), "", nil) {
		t.Error("topic and data run into each other")
	}
	stamped := &pb.Message{Topic: new("topic"), Data: putStamp(time.Now(), []byte("data"))}
	if fmt.Sprintf("%x", pubsubID(ContentID, true)(stamped)) != got {
		t.Error("the time of publication changes the ID")
	}
}

func TestAwayIsBounded(t *testing.T) {
	at := time.Now()
	a := newAway(2, metrics.NewCounter())
	for i, id := range []string{"a", "b", "c"} {
		a.add(id, noSum(), at.Add(time.Duration(i)*time.Second), "p")
	}
	if a.hold("a", noSum) {
		t.Error("the oldest is kept")
	}
	if n := a.forgotten.Count(); n != 1 {
		t.Errorf("%d forgotten", n)
	}
	if got := a.ask([]string{"x", "b", "c"}, 1, at); len(got) != 1 || got[0] != "b" {
		t.Errorf("asked for %v", got)
	}
	if got := a.ask([]string{"b", "c"}, 9, at.Add(time.Second)); len(got) != 1 || got[0] != "c" {
		t.Errorf("asked for %v", got)
	}
	if got := a.ask([]string{"b"}, 9, at.Add(askAgain)); len(got) != 1 {
		t.Error("never asked again")
	}
	if got := a.due(9, at.Add(2*askAgain), time.Minute)["p"]; len(got) != 2 {
		t.Errorf("due: %v", got)
	}
	if got := a.due(9, at.Add(4*askAgain), time.Second); len(got) != 0 {
		t.Errorf("too old, and due: %v", got)
	}
	a.expire(at.Add(11*time.Second), 10*time.Second-time.Nanosecond)
	if a.hold("b", noSum) || !a.hold("c", noSum) {
		t.Error("expiry")
	}
	if a.release("c"); a.n.Load() != 0 {
		t.Error("released, and still there")
	}
}

func TestParking(t *testing.T) {
	at := time.Now()
	k := newParking(parkLimits{total: 3, bytes: 10, perPeer: 2, perKey: 2})
	put := func(key string, from peer.ID, size int) fate {
		return k.add(&parked{key: key, m: Message{From: from, Data: make([]byte, size)}, until: at.Add(time.Minute)}, 0)
	}
	for i, c := range []struct {
		key  string
		from peer.ID
		size int
		want fate
	}{
		{"k", "p", 4, stays},
		{"k", "q", 7, noRoom}, // bytes
		{"k", "p", 1, stays},
		{"k", "q", 1, noRoom}, // of one key
		{"l", "p", 1, noRoom}, // of one peer
		{"l", "q", 1, stays},
		{"m", "r", 1, noRoom}, // in all
	} {
		if got := put(c.key, c.from, c.size); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	got := k.resume("k", at.Add(time.Second))
	if len(got) != 2 || k.total != 3 || k.bytes != 6 {
		t.Errorf("%d resumed, which hold %d places and %d bytes", len(got), k.total, k.bytes)
	}
	for _, p := range got {
		k.gone(p)
	}
	if put("k", "p", 1) != resumedMeanwhile || k.total != 2 {
		t.Error("a message whose key was resumed during its validation is parked")
	}
	k.gone(&parked{m: Message{From: "p", Data: make([]byte, 1)}})
	if got := k.expire(at.Add(2*time.Minute), nil); len(got) != 1 || k.total != 0 || len(k.byKey) != 0 || len(k.perPeer) != 0 || len(k.resumed) != 0 {
		t.Errorf("%d expired, %+v", len(got), k)
	}
	for i := range 3 * maxResumed {
		k.resume(fmt.Sprint(i), at)
	}
	if len(k.resumed) != maxResumed || len(k.order) != maxResumed {
		t.Errorf("%d keys remembered", len(k.resumed))
	}
}

func TestPending(t *testing.T) {
	at := time.Now()
	p := newPending(2, 5)
	msg := func(size int) *pubsub.Message { return &pubsub.Message{Message: &pb.Message{Data: make([]byte, size)}} }
	a, b := msg(3), msg(2)
	if !p.add(a, at) || p.add(msg(3), at) || !p.add(b, at.Add(time.Second)) || p.add(msg(0), at) {
		t.Error("bounds")
	}
	p.pop(b)
	if u, ok := p.front(); !ok || u.msg != a {
		t.Error("what is not the first was removed")
	}
	if len(p.expire(at)) != 1 || len(p.drain()) != 1 || p.room != 5 || p.n.Load() != 0 {
		t.Error("expiry")
	}
}

func TestRecent(t *testing.T) {
	at := time.Now()
	var r recent
	for i := range 2 * maxRecent {
		r.add(fmt.Sprint(i), at, time.Second)
	}
	if n := len(r.since(at)); n != maxRecent {
		t.Errorf("%d kept", n)
	}
	r.add("late", at.Add(2*time.Second), time.Second)
	if ids := r.since(at); len(ids) != 1 || ids[0] != "late" {
		t.Errorf("%d kept", len(ids))
	}
}

func TestBacklog(t *testing.T) {
	b := newBacklog(10)
	b.expect("p")
	m := []*pb.Message{{}}
	if b.put("p", 10, m) || !b.put("p", 1, nil) || b.put("p", 2, m) {
		t.Error("want true once, when the bound is crossed")
	}
	b.take("p", 1) // overtook the other
	if n := b.of("p"); n != 12 {
		t.Errorf("%d bytes wait", n)
	}
	idle := b.empty()
	b.take("p", 10)
	b.opened("p", true)
	b.take("p", 2) // the frame that a stream begins with, which is not the one that waits
	if lost := b.forget("p"); len(lost) != 1 || len(b.peers) != 0 {
		t.Errorf("%d messages lost", len(lost))
	}
	select {
	case <-idle:
	default:
		t.Error("nothing waits, and nobody is told")
	}
	b.take("q", 5) // by a stream that was given up
	if len(b.peers) != 0 {
		t.Error("a peer without a stream is remembered")
	}
	b.expect("q")
	b.take("q", 7) // by that stream too
	b.opened("q", false)
	b.take("q", 5) // written before it is put
	if b.put("q", 5, m); b.of("q") != 0 {
		t.Error("a frame that is written already waits")
	}
	if b.put("q", 7, m); b.of("q") != 7 {
		t.Error("a frame of an earlier stream is taken for this one")
	}
}

func TestBudget(t *testing.T) {
	at := time.Now()
	b := newBudget()
	if have, want := b.spend("p", maxHave, maxWant, at, time.Second); !have || !want {
		t.Error("the whole budget is too much")
	}
	if have, want := b.spend("p", 1, 1, at, time.Second); have || want {
		t.Error("more than the budget")
	}
	if have, want := b.spend("q", 1, 1, at, time.Second); !have || !want {
		t.Error("another peer pays")
	}
	if have, _ := b.spend("p", 1, 0, at.Add(time.Second), time.Second); !have {
		t.Error("the next heartbeat pays")
	}
}

func TestFaults(t *testing.T) {
	at := time.Now()
	f := faults{m: make(map[peer.ID]account)}
	f.add("p", at)
	f.add("p", at)
	if s := f.score("p", at); s != 2*faultWeight {
		t.Errorf("score %v", s)
	}
	if s := f.score("p", at.Add(faultHalf)); s != faultWeight {
		t.Errorf("score %v", s)
	}
	for i := range 2 * maxFaulty {
		f.add(peer.ID(fmt.Sprint(i)), at)
	}
	if len(f.m) != maxFaulty {
		t.Errorf("%d accounts", len(f.m))
	}
	f.expire(at.Add(time.Hour))
	if len(f.m) != 0 {
		t.Errorf("%d accounts", len(f.m))
	}
}

func FuzzStamp(f *testing.F) {
	f.Add([]byte("short"))
	f.Add(putStamp(time.Unix(1, 2), []byte("data")))
	f.Add(append(putStamp(time.Unix(1, 2), []byte("data")), 'x'))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, data, ok := openStamp(b)
		if at2, again, _ := openStamp(putStamp(time.Unix(3, 4), b)); !bytes.Equal(again, b) || !at2.Equal(time.Unix(3, 4)) {
			t.Fatalf("stamped and opened: %x, %s", again, at2)
		}
		if ok {
			if !bytes.Equal(putStamp(at, data), b) {
				t.Fatal("data")
			}
			if d := delayMicros(at, time.Now()); d < 0 || d > time.Hour.Microseconds() {
				t.Fatalf("a delay of %d us", d)
			}
		}
	})
}

func BenchmarkContentID(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 1 << 20} {
		data := make([]byte, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				ContentID(reachTopic, data, "", nil)
			}
		})
	}
}
