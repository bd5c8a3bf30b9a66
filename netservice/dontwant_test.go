package netservice_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

var (
	dontWant         = flag.Bool("dontwant", false, "run TestDontWantAbove, which takes some five minutes")
	dontWantNodes    = flag.Int("dontwant.nodes", 30, "nodes of TestDontWantAbove")
	dontWantMessages = flag.Int("dontwant.messages", 40, "messages of each of its runs")
	dontWantSeeds    = flag.Uint64("dontwant.seeds", 1, "networks of each of its cases, of which means are shown")
	dontWantUplinks  = flag.String("dontwant.uplinks", "1,10,50", "Mbit/s of a node's uplink; its downlink has four times as many")
	dontWantSizes    = flag.String("dontwant.sizes", "1,4,16,64,200,mixed", "KiB of its messages; mixed are all of these sizes in turn")
	dontWantLoad     = flag.Float64("dontwant.load", 0.05, "share of each uplink that is busy if a message is sent once to each node")
)

// dontWantNever is a threshold above all messages.
const dontWantNever = 1 << 20

// dontWantType is the type of TestDontWantAbove.
var dontWantType = netservice.Declare("tx", netservice.Raw(), netservice.MaxSize(256<<10),
	netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))

// TestDontWantAbove shows what GossipParams.DontWantAbove does on slow lines: whole
// services of ten connections each, 20 to 100 ms apart, with uplinks of 1, 10 and 50
// Mbit/s, once with and once without IDONTWANT for each size of messages, and with each
// threshold for messages of all sizes. Times are virtual, so others' load on the machine
// shows in the processor time alone:
//
//	go test ./netservice -run TestDontWantAbove -v -timeout 120m -dontwant
//	go test ./netservice -run TestDontWantAbove -v -timeout 120m -dontwant -dontwant.load 0.12
func TestDontWantAbove(t *testing.T) {
	if !*dontWant {
		t.Skip("measures, and takes minutes: go test ./netservice -run TestDontWantAbove -v -timeout 120m -dontwant")
	}
	crowd(t)
	for uplink := range strings.SplitSeq(*dontWantUplinks, ",") {
		mbit, err := strconv.ParseFloat(uplink, 64)
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(*dontWantSizes, ",") {
			sizes, thresholds := dontWantCase(t, name)
			for _, above := range thresholds {
				t.Logf("%4s Mbit/s, %5s KiB, IDONTWANT %-11s %v", uplink, name, dontWantText(above),
					dontWantMean(t, int64(mbit*1e6), above, sizes))
			}
		}
	}
}

// dontWantCase is the sizes of the messages that a name stands for, and the thresholds
// to try with them: with messages of one size all that are not above it are alike.
func dontWantCase(t *testing.T, name string) (sizes, thresholds []int) {
	if name == "mixed" {
		return []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 200 << 10}, []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, dontWantNever}
	}
	kib, err := strconv.Atoi(name)
	if err != nil {
		t.Fatal(err)
	}
	return []int{kib << 10}, []int{kib << 10, dontWantNever}
}

func dontWantText(above int) string {
	if above == dontWantNever {
		return "never:"
	}
	return fmt.Sprintf("from %d KiB:", above>>10)
}

// dontWantResult is what a case costs and how long it takes.
type dontWantResult struct {
	half, most, all time.Duration // until half, 95 % and all of the nodes have a message, medians
	lost            int
	duplicates      float64 // for each delivery
	gossip, wire    float64 // bytes on gossip streams, and on all connections less those while idle, for each of payload delivered
	cpu, alloc      float64 // microseconds and KiB of a delivery, less what idle nodes take
}

func (r dontWantResult) String() string {
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("50 %% %7v, 95 %% %7v, all %7v; %.2f duplicates, gossip %.2f, wire %.2f; %5.0f us, %4.0f KiB; %d lost",
		ms(r.half), ms(r.most), ms(r.all), r.duplicates, r.gossip, r.wire, r.cpu, r.alloc, r.lost)
}

func dontWantMean(t *testing.T, up int64, above int, sizes []int) (mean dontWantResult) {
	k := float64(*dontWantSeeds)
	for seed := range *dontWantSeeds {
		bubble(t, func(t *testing.T) {
			n := newDontWantNet(t, seed, up, above)
			defer n.stop()
			r := n.broadcast(seed, up, sizes)
			if r.lost > 0 {
				t.Errorf("seed %d: %d deliveries are missing", seed, r.lost)
			}
			mean.half += time.Duration(float64(r.half) / k)
			mean.most += time.Duration(float64(r.most) / k)
			mean.all += time.Duration(float64(r.all) / k)
			mean.lost += r.lost
			mean.duplicates += r.duplicates / k
			mean.gossip, mean.wire = mean.gossip+r.gossip/k, mean.wire+r.wire/k
			mean.cpu, mean.alloc = mean.cpu+r.cpu/k, mean.alloc+r.alloc/k
		})
	}
	return mean
}

// dontWantNet is a network of services.
type dontWantNet struct {
	t        *testing.T
	net      *testnet.Net
	services []*netservice.NebService
	record   *bench.Reach
}

func newDontWantNet(t *testing.T, seed uint64, up int64, above int) *dontWantNet {
	nodes := *dontWantNodes
	n := &dontWantNet{t: t, record: bench.NewReach(nodes, *dontWantMessages), net: testnet.New(seed,
		testnet.WithBandwidth(testnet.Bandwidth{Up: up, Down: 4 * up}),
		testnet.WithLinks(func(from, to netip.Addr) testnet.Link { return testnet.Link{Latency: largeLink(seed, from, to)} }))}
	params := netservice.SmallNetwork()
	params.DontWantAbove = above
	for i, js := range largeGraph(nodes, 10, seed) {
		ip := n.net.Node(i)
		key, err := n.net.Key(ip)
		if err != nil {
			t.Fatal(err)
		}
		cfg := chain()
		cfg.NoPeerExchange = true
		cfg.Listen = []string{testnet.Multiaddr(ip).String()}
		cfg.ShutdownTimeout = netservice.Duration(20 * time.Second)
		for _, j := range js {
			cfg.Bootstrap = append(cfg.Bootstrap, n.addr(j))
		}
		s, err := netservice.NewNebService(cfg, quiet(), netservice.WithIdentity(key), netservice.WithSeed(seed<<16+uint64(i)),
			netservice.WithTransport(n.net.Transport(ip)), netservice.WithGossipParams(params))
		if err != nil {
			t.Fatal(err)
		}
		n.services = append(n.services, s)
		_, err = dontWantType.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { n.record.Got(i, m.Value) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range n.services {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute) // until all are connected and meshes have formed
	return n
}

func (n *dontWantNet) addr(i int) string {
	ip := n.net.Node(i)
	key, err := n.net.Key(ip)
	if err != nil {
		n.t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprintf("%s/p2p/%s", testnet.Multiaddr(ip), id)
}

func (n *dontWantNet) stop() {
	var wg sync.WaitGroup
	for _, s := range n.services {
		wg.Go(func() {
			if err := s.Stop(); err != nil {
				n.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// dontWantTotals are counts since the start of a network.
type dontWantTotals struct{ duplicates, gossip, wire int64 }

func (n *dontWantNet) totals() (sum dontWantTotals) {
	for _, s := range n.services {
		g := s.Stats().Gossip
		sum.gossip += g.WireOut
		sum.duplicates += g.Types[dontWantType.Name()].Duplicates
	}
	sum.wire = int64(n.net.TotalStats().Sent)
	return sum
}

// broadcast has random nodes publish messages of these sizes in turn, each after as long
// as the one before takes at -dontwant.load, but at most twenty a second.
func (n *dontWantNet) broadcast(seed uint64, up int64, sizes []int) (r dontWantResult) {
	const idle = 30 * time.Second
	cost, before := bench.StartCost(), n.totals()
	time.Sleep(idle)
	idleCPU, idleAlloc := cost.Per(1)
	idleWire := n.totals().wire - before.wire

	rng := rand.New(rand.NewPCG(seed, 4))
	cost, before = bench.StartCost(), n.totals()
	began, payload := time.Now(), 0
	for i := range n.record.Messages() {
		from, size := rng.IntN(len(n.services)), sizes[i%len(sizes)]
		if err := dontWantType.Broadcast(n.t.Context(), n.services[from], n.record.Say(i, from, size)); err != nil {
			n.t.Errorf("message %d: %v", i, err)
		}
		payload += size * (len(n.services) - 1)
		time.Sleep(max(time.Duration(float64(size)*8/float64(up) / *dontWantLoad * float64(time.Second)), time.Second/20))
	}
	for end := time.Now().Add(5 * time.Minute); n.record.Count().Lost > 0 && time.Now().Before(end); {
		time.Sleep(time.Second)
	}
	time.Sleep(10 * time.Second) // further copies
	took := float64(time.Since(began)) / float64(idle)
	c := n.record.Count()
	r.lost, r.half, r.most, r.all = c.Lost, n.record.Until(0.5), n.record.Until(0.95), n.record.Until(1)
	cpu, alloc := cost.Per(1)
	k := float64(c.Delivered)
	r.cpu, r.alloc = (cpu-took*idleCPU)/k, (alloc-took*idleAlloc)/k
	after := n.totals()
	r.duplicates = float64(after.duplicates-before.duplicates) / k
	r.gossip = float64(after.gossip-before.gossip) / float64(payload)
	r.wire = (float64(after.wire-before.wire) - took*float64(idleWire)) / float64(payload)
	return r
}
