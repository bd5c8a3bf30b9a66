package peers

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/peer"
)

// library is a book of good entries in /24s of their own and hostile ones in
// three, and what a choice of it needs.
func library(good, hostile int, seed uint64) (*book.Book, choice) {
	b := book.New()
	now := time.Now()
	add := func(kind string, i int, at string) {
		p := peerID(kind, i)
		b.Add(now, book.Told{Peer: info(p, at), Source: book.FromExchange, Teller: peerN(i / 50)})
		if i%2 == 0 {
			b.Reached(now, p, nil)
		}
	}
	for i := range good {
		add("good", i, fmt.Sprintf("/ip4/20.%d.%d.1/tcp/1", i&255, i>>8))
	}
	for i := range hostile {
		add("evil", i, fmt.Sprintf("/ip4/66.6.%d.%d/tcp/1", i%3, i/3%250))
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	return b, choice{now: now, n: 12, skip: func(*book.Entry) bool { return false }, spread: newSpread(shares{2, 4}, nil), rand: rng.Float64}
}

func peerID(kind string, i int) peer.ID { return peer.ID(fmt.Sprintf("%s%05d", kind, i)) }

func evil(es []*book.Entry) (n int) {
	for _, e := range es {
		if e.ID[:4] == "evil" {
			n++
		}
	}
	return n
}

// However many entries an attacker has, in three networks it gets at most two
// places in each, and as a rule no more than its networks are of all.
func TestChooseIsDiverse(t *testing.T) {
	total := 0
	for seed := range uint64(200) {
		b, c := library(40, 400, seed)
		chosen, _ := choose(b.All(), c)
		if n := evil(chosen); len(chosen) != 12 || n > 6 {
			t.Fatalf("%d hostile of %d", n, len(chosen))
		} else {
			total += n
		}
	}
	if mean := float64(total) / 200; mean > 2.5 {
		t.Errorf("%.1f hostile of 12 on average", mean)
	}
}

func TestChoose(t *testing.T) {
	b, c := library(10, 0, 1)
	ids := func(es []*book.Entry) map[peer.ID]bool {
		out := make(map[peer.ID]bool)
		for _, e := range es {
			out[e.ID] = true
		}
		return out
	}
	if all, _ := choose(b.All(), c); len(ids(all)) != 10 {
		t.Errorf("%d of 10 peers, with room for 12", len(all))
	}
	c.spread = newSpread(shares{2, 4}, nil)
	c.skip = func(e *book.Entry) bool { return e.ID != "good00003" }
	if one, _ := choose(b.All(), c); len(one) != 1 || one[0].ID != "good00003" {
		t.Errorf("%v", one)
	}
	b.Failed("good00003", 18, c.now.Add(time.Minute), true)
	c.spread = newSpread(shares{2, 4}, nil)
	if none, wait := choose(b.All(), c); len(none) != 0 || wait != time.Minute {
		t.Errorf("%v in %s", none, wait)
	}
	c.n = 0
	if none, _ := choose(b.All(), c); len(none) != 0 {
		t.Errorf("%v", none)
	}
}

// Both kinds have a share: those reached before, and new ones.
func TestChooseMixes(t *testing.T) {
	proven := 0
	for seed := range uint64(100) {
		b, c := library(200, 0, seed)
		c.n = 10
		chosen, _ := choose(b.All(), c)
		for _, e := range chosen {
			if e.Proven() {
				proven++
			}
		}
	}
	if proven < 500 || proven > 700 {
		t.Errorf("%d of 1000 were reached before", proven)
	}
}

func BenchmarkChoose(b *testing.B) {
	lib, c := library(8000, 190, 1)
	for b.Loop() {
		c.spread = newSpread(shares{2, 4}, nil)
		choose(lib.All(), c)
	}
}
