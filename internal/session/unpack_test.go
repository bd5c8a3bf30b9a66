package session

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// TestUnpackedBatches: what is handed over at once is bounded by what it unpacks to.
func TestUnpackedBatches(t *testing.T) {
	c := newCodec()
	const size = 200 << 10
	data := bytes.Repeat(frames(c, msgtype.CompressS2, make([]byte, size)), 100)
	if len(data) > 40<<10 {
		t.Fatalf("%d bytes: not one read", len(data))
	}
	var batches []int
	got, err := readBatches(&fakeStream{data: data, piece: 1 << 20, end: io.EOF}, 1<<20, func(batch [][]byte) {
		n := 0
		for _, b := range batch {
			n += len(b)
		}
		batches = append(batches, n)
	})
	if err != nil || len(got) != 100 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if most := slices.Max(batches); most > unpackBatch+size {
		t.Errorf("%d bytes at once", most)
	}
}

// TestUnpackingIsPaced: what unpacks to far more than usual comes slowly, and holds
// up neither other streams nor other peers. Nobody is blamed: programs may send
// such things.
func TestUnpackingIsPaced(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		zeros := msgtype.Spec{Name: "zeros", MaxSize: 4 << 20}
		a, b := simNode(t, net, 1, nil, tx, zeros), simNode(t, net, 2, nil, tx, zeros)
		c := simNode(t, net, 3, nil, tx, zeros)
		var unpacked int
		b.handle = func(_ context.Context, msgType string, batch [][]byte) error {
			if msgType != "zeros" {
				b.record(msgType, batch)
				return nil
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, m := range batch {
				unpacked += len(m)
			}
			return nil
		}
		sa, _ := join(t, a, b)
		sc, _ := join(t, c, b)
		const count, size = 100, 4 << 20
		for range count {
			if err := sa.Send(t.Context(), "zeros", make([]byte, size), SendOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			time.Sleep(time.Second)
			b.mu.Lock()
			n := unpacked
			b.mu.Unlock()
			if most := int(peerUnpackRate.Burst) + (i+2)*int(peerUnpackRate.PerSecond) + 2*size; n > most+most/usualRatio {
				t.Errorf("%d MiB after %d s", n>>20, i+1)
			}
		}
		send(t, sa, "tx", "beside")
		send(t, sc, "tx", "other")
		b.await(t, "others", func() bool { return len(b.got["tx"]) == 2 })
		time.Sleep(time.Minute)
		b.mu.Lock()
		if unpacked != count*size {
			t.Errorf("%d of %d messages", unpacked/size, count)
		}
		b.mu.Unlock()
		if f := b.faulted(); f != nil {
			t.Errorf("faults %v", f)
		}
	})
}
