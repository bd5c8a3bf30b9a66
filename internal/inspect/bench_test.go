package inspect

import (
	"fmt"
	"io"
	"net/url"
	"testing"
	"time"
)

// BenchmarkSecond is what one viewer costs a node with 200 peers and 20 types,
// each second: a sample, and the page written anew. 10 ms are one in a hundred of
// a core. What the node needs to read its own counters comes on top.
func BenchmarkSecond(b *testing.B) {
	at := time.Unix(1000, 0)
	snap := full(at)
	one, typ := snap.Peers[0], snap.Types[0]
	snap.Peers, snap.Types = nil, nil
	for i := range 200 {
		p := one
		p.ID = fmt.Sprintf("12D3KooWPeer%040d", i)
		snap.Peers = append(snap.Peers, p)
	}
	for i := range 20 {
		t := typ
		t.Name = fmt.Sprint("type", i)
		snap.Types = append(snap.Types, t)
	}
	n := 0
	f := &fake{snap: func(int64) Snapshot {
		n++
		s := snap
		s.At = at.Add(time.Duration(n) * time.Second)
		return s
	}}
	i, err := New(f, Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer i.Close()
	for range 600 {
		i.sampler.sample()
	}
	for _, name := range []string{"overview", "peers", "flow", "events"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i.sampler.sample()
				v, _ := i.sampler.view()
				if err := i.render(io.Discard, "main", pageNamed(name), v, url.Values{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
