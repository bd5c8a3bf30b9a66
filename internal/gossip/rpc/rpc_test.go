package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func decode(t testing.TB, body []byte) *RPC {
	t.Helper()
	r := new(RPC)
	if err := r.Decode(body, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	return r
}

// bodies takes frames apart.
func bodies(t testing.TB, b []byte) (out [][]byte) {
	t.Helper()
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			t.Fatalf("a frame of %d bytes is longer than the %d that are left", size, len(b)-n)
		}
		out = append(out, b[n:n+int(size)])
		b = b[n+int(size):]
	}
	return out
}

// same compares a decoded frame with what the reference makes of it.
func same(t testing.TB, r *RPC, want *pb.RPC) {
	t.Helper()
	if len(r.Subs) != len(want.Subscriptions) || len(r.Publish) != len(want.Publish) {
		t.Fatalf("%d subscriptions and %d messages, want %d and %d", len(r.Subs), len(r.Publish), len(want.Subscriptions), len(want.Publish))
	}
	for i, s := range want.Subscriptions {
		if string(r.Subs[i].Topic) != s.GetTopicid() || r.Subs[i].Subscribe != s.GetSubscribe() {
			t.Fatalf("subscription %d: %q %v", i, r.Subs[i].Topic, r.Subs[i].Subscribe)
		}
	}
	for i, m := range want.Publish {
		sameMessage(t, &r.Publish[i], m)
	}
	c := want.GetControl()
	var wants, refused []string
	for _, w := range c.GetIwant() {
		wants = append(wants, w.MessageIDs...)
	}
	for _, w := range c.GetIdontwant() {
		refused = append(refused, w.MessageIDs...)
	}
	var grafts []string
	for _, g := range c.GetGraft() {
		grafts = append(grafts, g.GetTopicID())
	}
	sameList(t, "wanted", r.Want, wants)
	sameList(t, "refused", r.DontWant, refused)
	sameList(t, "grafted", r.Graft, grafts)
	if len(r.Have) != len(c.GetIhave()) || len(r.Prune) != len(c.GetPrune()) || r.Extensions != (c.GetExtensions() != nil) {
		t.Fatalf("%d announcements, %d prunes, extensions %v", len(r.Have), len(r.Prune), r.Extensions)
	}
	for i, h := range c.GetIhave() {
		if string(r.Have[i].Topic) != h.GetTopicID() {
			t.Fatalf("announcement %d is for %q", i, r.Have[i].Topic)
		}
		sameList(t, "announced", r.Have[i].IDs, h.MessageIDs)
	}
	for i, p := range c.GetPrune() {
		q := r.Prune[i]
		if string(q.Topic) != p.GetTopicID() || q.Backoff != p.GetBackoff() || len(q.Peers) != min(len(p.Peers), MaxPrunePeers) {
			t.Fatalf("prune %d: %+v", i, q)
		}
		for k := range q.Peers {
			if !bytes.Equal(q.Peers[k].ID, p.Peers[k].PeerID) || !bytes.Equal(q.Peers[k].Record, p.Peers[k].SignedPeerRecord) {
				t.Fatalf("peer %d of prune %d", k, i)
			}
		}
	}
}

func sameList(t testing.TB, what string, have [][]byte, want []string) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%d %s, want %d", len(have), what, len(want))
	}
	for i := range want {
		if string(have[i]) != want[i] {
			t.Fatalf("%s %d: %q, want %q", what, i, have[i], want[i])
		}
	}
}

func sameMessage(t testing.TB, m *Message, want *pb.Message) {
	t.Helper()
	topic := []byte(want.GetTopic())
	if want.Topic == nil {
		topic = nil
	}
	for i, pair := range [][2][]byte{
		{m.From, want.From}, {m.Data, want.Data}, {m.Seqno, want.Seqno}, {m.Topic, topic},
		{m.Signature, want.Signature}, {m.Key, want.Key},
	} {
		if !bytes.Equal(pair[0], pair[1]) || (pair[0] == nil) != (pair[1] == nil) {
			t.Fatalf("field %d: %q, want %q", i+1, pair[0], pair[1])
		}
	}
	if m.Unknown != (len(want.ProtoReflect().GetUnknown()) > 0) {
		t.Fatalf("unknown fields: %v", m.Unknown)
	}
}

func sample() *pb.RPC {
	return &pb.RPC{
		Subscriptions: []*pb.RPC_SubOpts{
			{Subscribe: new(true), Topicid: new("a"), RequestsPartial: new(false)}, {Topicid: new("b")},
		},
		Publish: []*pb.Message{
			{Data: []byte("hello"), Topic: new("a")},
			{Data: []byte{}, Topic: new("a"), From: []byte("me"), Seqno: make([]byte, 8), Signature: []byte("s"), Key: []byte("k")},
			{},
		},
		Control: &pb.ControlMessage{
			Ihave:      []*pb.ControlIHave{{TopicID: new("a"), MessageIDs: []string{"1", "\xff\x00"}}, {}},
			Iwant:      []*pb.ControlIWant{{MessageIDs: []string{"2"}}, {MessageIDs: []string{"3", "4"}}},
			Graft:      []*pb.ControlGraft{{TopicID: new("a")}, {}},
			Prune:      []*pb.ControlPrune{{TopicID: new("a"), Backoff: new(uint64(60)), Peers: []*pb.PeerInfo{{PeerID: []byte("p"), SignedPeerRecord: []byte("r")}}}},
			Idontwant:  []*pb.ControlIDontWant{{MessageIDs: []string{"5"}}},
			Extensions: &pb.ControlExtensions{PartialMessages: new(true)},
		},
	}
}

func TestDecodeReadsWhatTheReferenceWrites(t *testing.T) {
	want := sample()
	b, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	same(t, decode(t, b), want)
}

func TestTheReferenceReadsWhatIsWritten(t *testing.T) {
	c := &Control{
		Subs:     []Announce{{"a", true}, {"b", false}},
		Have:     []HaveIDs{{"a", []string{"1", "2"}}},
		Want:     []string{"3"},
		Graft:    []string{"a"},
		Prune:    []PruneOut{{Topic: "b", Backoff: 60, Peers: []PeerOut{{"p", []byte("r")}, {ID: "q"}}}},
		DontWant: []string{"4"},
	}
	all := bodies(t, AppendControl(nil, c))
	if len(all) != 1 {
		t.Fatalf("%d frames", len(all))
	}
	var rpc pb.RPC
	if err := proto.Unmarshal(all[0], &rpc); err != nil {
		t.Fatal(err)
	}
	same(t, decode(t, all[0]), &rpc)
	if len(rpc.Subscriptions) != 2 || len(rpc.Control.Ihave) != 1 || len(rpc.Control.Prune) != 1 ||
		rpc.Control.Prune[0].GetBackoff() != 60 || len(rpc.Control.Prune[0].Peers) != 2 || len(rpc.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v", &rpc)
	}
	if AppendControl(nil, &Control{}) != nil {
		t.Error("a frame that says nothing")
	}
}

// What is long is cut into frames that receivers read in full.
func TestLongControlIsCut(t *testing.T) {
	c := &Control{}
	ids := make([]string, 12_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%020d", i)
	}
	c.Have = []HaveIDs{{"a", ids}, {"b", ids[:30]}}
	c.Want = ids
	c.DontWant = ids[:25]
	for i := range 1200 {
		c.Graft = append(c.Graft, fmt.Sprint("topic ", i))
		c.Subs = append(c.Subs, Announce{fmt.Sprint("topic ", i), true})
	}
	have, want, refused, grafts, subs := map[string]int{}, 0, 0, 0, 0
	for _, b := range bodies(t, AppendControl(nil, c)) {
		if len(b) > frameMost+1024 {
			t.Errorf("a frame of %d bytes", len(b))
		}
		r := decode(t, b)
		if len(r.DontWant) > refuseMost || len(r.Want) > frameIDs || len(r.Graft) > partsMost || len(r.Subs) > partsMost {
			t.Errorf("%d refusals, %d requests, %d grafts, %d subscriptions", len(r.DontWant), len(r.Want), len(r.Graft), len(r.Subs))
		}
		for _, h := range r.Have {
			have[string(h.Topic)] += len(h.IDs)
		}
		want, refused, grafts, subs = want+len(r.Want), refused+len(r.DontWant), grafts+len(r.Graft), subs+len(r.Subs)
	}
	if have["a"] != 12_000 || have["b"] != 30 || want != 12_000 || refused != 25 || grafts != 1200 || subs != 1200 {
		t.Errorf("%v, %d, %d, %d, %d", have, want, refused, grafts, subs)
	}
}

func TestEncode(t *testing.T) {
	full := &pb.Message{Data: []byte("d"), Topic: new("t"), From: []byte("f"), Seqno: []byte("n"), Signature: []byte("s"), Key: []byte("k")}
	bloated := proto.Clone(full).(*pb.Message)
	bloated.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), make([]byte, 1<<10)))
	for name, m := range map[string]*pb.Message{
		"data and topic": {Data: []byte("d"), Topic: new("t")},
		"empty data":     {Data: []byte{}, Topic: new("t")},
		"all":            full, "unknown field": bloated, "nothing": {},
		"large": {Data: make([]byte, 1<<20), Topic: new("t")},
	} {
		b, err := proto.Marshal(&pb.RPC{Publish: []*pb.Message{m}})
		if err != nil {
			t.Fatal(err)
		}
		r := decode(t, b)
		if r.Publish[0].Canonical != (name != "unknown field") {
			t.Errorf("%s: canonical %v", name, r.Publish[0].Canonical)
		}
		frame, own := Encode(&r.Publish[0])
		if cap(frame)-len(frame) > 2*binary.MaxVarintLen32 {
			t.Errorf("%s: %d bytes of a frame of %d are not used", name, cap(frame)-len(frame), len(frame))
		}
		clear(b) // own must not point into it
		clean := proto.Clone(m).(*pb.Message)
		clean.ProtoReflect().SetUnknown(nil)
		sameMessage(t, &own, clean)
		all := bodies(t, frame)
		sameMessage(t, &decode(t, all[0]).Publish[0], clean)
	}
}

// Fields in another order, twice, or with longer numbers than need be: the last
// value counts, and what goes on is in order.
func TestEncodeOfAnUnusualMessage(t *testing.T) {
	var b []byte
	b = appendBytes(b, msgTopic, "x")
	b = appendBytes(b, msgData, "first")
	b = appendBytes(b, msgData, "last")
	b = appendBytes(b, msgTopic, "topic")
	b = append(b, msgFrom<<3|2, 0x84, 0x80, 0x00)
	b = append(b, "from"...)
	r := decode(t, appendBytes(nil, rpcPublish, b))
	frame, own := Encode(&r.Publish[0])
	want := AppendMessage(nil, &Message{From: []byte("from"), Data: []byte("last"), Topic: []byte("topic")})
	if !bytes.Equal(own.Body, want) || !bytes.HasSuffix(frame, want) || string(own.Data) != "last" || string(own.Topic) != "topic" {
		t.Errorf("%q", own.Body)
	}
}

func TestAppendSigned(t *testing.T) {
	m := &Message{Data: []byte("d"), Topic: []byte("t"), From: []byte("f"), Seqno: []byte("n"), Signature: []byte("s"), Key: []byte("k")}
	plain, err := proto.Marshal(&pb.Message{Data: m.Data, Topic: new("t"), From: m.From, Seqno: m.Seqno})
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendSigned(nil, m); string(got) != "libp2p-pubsub:"+string(plain) {
		t.Errorf("%q", got)
	}
}

// Row 50: frames of tiny parts are refused before there is a place for each.
func TestHostileTinyParts(t *testing.T) {
	const size = 8 << 20
	control := func(field byte) []byte {
		parts := bytes.Repeat([]byte{field<<3 | 2, 0}, size/2)
		return appendBytes(nil, rpcControl, parts)
	}
	ids := appendBytes(nil, rpcControl, appendBytes(nil, ctlWant, bytes.Repeat([]byte{1<<3 | 2, 0}, size/2)))
	peers := appendBytes(nil, rpcControl, appendBytes(nil, ctlPrune, bytes.Repeat([]byte{2<<3 | 2, 0}, size/2)))
	for name, body := range map[string][]byte{
		"ihave": control(ctlHave), "iwant": control(ctlWant), "graft": control(ctlGraft), "prune": control(ctlPrune), "idontwant": control(ctlDontWant),
		"message": bytes.Repeat([]byte{rpcPublish<<3 | 2, 0}, size/2), "subscription": bytes.Repeat([]byte{rpcSubs<<3 | 2, 0}, size/2), "id": ids,
		"control": bytes.Repeat(append([]byte{rpcControl<<3 | 2, 2}, ctlGraft<<3|2, 0), size/4),
	} {
		r := new(RPC)
		var err error
		got := allocated(func() { err = r.Decode(body, DefaultLimits()) })
		if !errors.Is(err, ErrTooMany) {
			t.Errorf("%s: %v", name, err)
		}
		if got > 8<<20 {
			t.Errorf("%s: %d bytes for a frame that is refused", name, got)
		}
		r.Reset()
		if cap(r.Publish) > keepAtMost || cap(r.Want) > keepAtMost || cap(r.Subs) > keepAtMost {
			t.Errorf("%s: the places are kept", name)
		}
	}
	if r := decode(t, peers); len(r.Prune[0].Peers) != MaxPrunePeers {
		t.Errorf("%d peers of a prune are read", len(r.Prune[0].Peers))
	}
}

func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

func TestMalformed(t *testing.T) {
	for _, body := range [][]byte{
		{0xff}, {0x00}, {0x0a}, {0x0a, 5, 1}, {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		{0x1a, 2, 0x0a, 9}, {0x08}, {0x0d, 1}, {0x12, 1, 0xff}, {0x0b},
	} {
		if err := new(RPC).Decode(body, DefaultLimits()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", body, err)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b, err := proto.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	r := new(RPC)
	l := DefaultLimits()
	n := testing.AllocsPerRun(100, func() {
		if err := r.Decode(b, l); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 { // the peers of the prune
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := proto.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x12, 0x08, 0x22, 1, 't', 0x12, 1, 'd', 0x0a, 0x00})
	f.Add(AppendControl(nil, &Control{Want: []string{"a"}, Graft: []string{"b"}})[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(RPC)
		err := r.Decode(b, Limits{Subs: 100, Messages: 100, IDs: 100, Parts: 100})
		want := new(pb.RPC)
		theirs := proto.Unmarshal(b, want)
		if errors.Is(err, ErrTooMany) {
			return
		}
		if theirs != nil {
			return // it looks into fields that are not read here
		}
		if err != nil {
			t.Fatalf("%v, and the reference reads %v", err, want)
		}
		same(t, r, want)
		for i := range r.Publish {
			frame, own := Encode(&r.Publish[i])
			clean := want.Publish[i]
			clean.ProtoReflect().SetUnknown(nil)
			sameMessage(t, &own, clean)
			for _, body := range bodies(t, frame) {
				sameMessage(t, &decode(t, body).Publish[0], clean)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 64 << 10} {
		body, err := proto.Marshal(&pb.RPC{Publish: []*pb.Message{{Data: make([]byte, size), Topic: new("/0011223344556677/tx")}}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint("ours/", size), func(b *testing.B) {
			b.ReportAllocs()
			r := new(RPC)
			for b.Loop() {
				if err := r.Decode(body, DefaultLimits()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("reference/", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := proto.Unmarshal(body, new(pb.RPC)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
