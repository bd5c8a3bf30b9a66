package sched

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// FuzzReceived: whatever two neighbours say, about messages of their own, of others and
// of this node, nothing fails. The byte before each frame tells whose it is, and how much
// time passes before it.
func FuzzReceived(f *testing.F) {
	x := newTable(&testing.T{}, "h")
	own := wire.NewManifest("block", make([]byte, 300<<10), []byte("h"))
	frame := func(by byte, fr wire.Frame) []byte { return append([]byte{by}, wire.Append(nil, &fr)...) }
	seed := func(frames ...[]byte) {
		var all []byte
		for _, b := range frames {
			all = append(all, b...)
		}
		f.Add(all)
	}
	for _, m := range []*wire.Manifest{x.m, own} {
		said := frame(0, wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m, Whole: true})
		last := len(m.Sums) - 1
		for _, fr := range []wire.Frame{
			{Kind: wire.Chunk, Index: 0, Data: make([]byte, 10)}, {Kind: wire.Chunk, Index: last, Data: make([]byte, 10)},
			{Kind: wire.Chunk, Index: last + 1, Data: make([]byte, 10)}, {Kind: wire.Chunk, Index: wire.MaxChunks - 1, Data: make([]byte, 10)},
			{Kind: wire.Want, Chunks: wire.Full(last + 1)}, {Kind: wire.Want, Chunks: wire.Full(last + 2)},
			{Kind: wire.Have, Have: wire.SetOf(0, last), Soon: wire.SetOf(1), Coming: wire.SetOf(2)},
			{Kind: wire.Have, Coming: wire.SetOf(wire.MaxChunks - 1)},
			{Kind: wire.Cancel, Chunks: wire.Full(last + 1)}, {Kind: wire.Gone, Reason: wire.Dropped}, {Kind: wire.Gone, Reason: wire.Busy},
		} {
			fr.Number = 1
			yours := fr
			yours.Yours = true
			seed(said, frame(0, fr), frame(0x11, wire.Frame{Kind: wire.Announce, Number: 1, Manifest: m}), frame(0x81, fr), frame(2, yours), said)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newTable(t, "h")
		x.step(Event{Kind: Publish, ID: x.id, Digest: x.d, Manifest: x.m, Data: x.data})
		for len(b) > 1 {
			p, wait := []peer.ID{"a", "b"}[b[0]&1], time.Duration(b[0]>>1)*10*time.Millisecond
			size, n := binary.Uvarint(b[1:])
			if n <= 0 || size > uint64(len(b)-1-n) {
				return
			}
			fr, err := wire.Decode(b[1+n : 1+n+int(size)])
			b = b[1+n+int(size):]
			x.pass(wait)
			if err != nil {
				return // the stream ends
			}
			ev := Event{Kind: Received, Peer: p, Frame: &fr}
			switch fr.Kind {
			case wire.Announce:
				ev.Digest = fr.Manifest.Digest("net")
				ev.ID = fr.Manifest.IDOf(ev.Digest)
			case wire.Chunk:
				if size, wanted := x.s.Expect(p, &fr); !wanted {
					fr.Data = nil
				} else {
					fr.Data = make([]byte, size)
					ev.Sum = sha256.Sum256(fr.Data)
				}
			}
			x.step(ev)
			if len(x.out) > 1000 {
				x.out = nil
			}
		}
		x.pass(time.Minute)
	})
}
