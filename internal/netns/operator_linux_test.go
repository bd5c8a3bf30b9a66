package netns

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// seen asks the page of a node, as JSON.
func seen[T any](p *process, path string) (v T) {
	p.t.Helper()
	p.Say("look " + path)
	if err := json.Unmarshal([]byte(p.hear("seen", 10*time.Second)), &v); err != nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	return v
}

// find waits until the page shows what an operator looks for, at most a minute.
func find(t *testing.T, what string, look func() bool) {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("not found within a minute: %s", what)
		}
		<-tick.C
	}
	t.Logf("%s: found after %s", what, time.Since(begin).Round(100*time.Millisecond))
}

type (
	eventSeen struct{ Kind, Peer, Reason, Detail string }
	flowSeen  struct {
		Name string
		Rate struct {
			In float64 `json:"in_per_second"`
		}
	}
	peerSeen struct {
		ID string
		In float64 `json:"bytes_in_per_second"`
	}
)

// An operator with the page of one of six nodes finds out that a node was killed,
// that a firewall parts two, and who floods which type.
func TestOperatorFindsCauses(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	w := newWorld(t)
	const count = 6
	var nodes []*process
	var places []*place
	var ids, ips, boot []string
	for i := range count {
		ip := fmt.Sprintf("2%d.0.0.1", i%4) // of 20.0.0.0/6
		if i >= 4 {
			ip = fmt.Sprintf("2%d.1.0.1", i%4)
		}
		at := w.add(ip)
		n, address := at.service(func(c *netservice.Config) {
			c.Listen = []string{tcpAt(ip)}
			c.Bootstrap = boot
		})
		if i == 0 {
			boot = []string{address}
		}
		nodes, places, ids, ips = append(nodes, n), append(places, at), append(ids, id(address)), append(ips, ip)
	}
	for _, n := range nodes {
		n.until("knows all", time.Minute, func(r report) bool { return len(r.Peers) == count-1 })
	}
	mine := nodes[1]
	mine.Say("watch")
	happened := func(n *process, peer string, kind ...string) bool {
		events := seen[[]eventSeen](n, "/api/events?peer="+url.QueryEscape(peer))
		return slices.ContainsFunc(events, func(e eventSeen) bool { return slices.Contains(kind, e.Kind) && e.Reason+e.Detail != "" })
	}
	why := func(peer string) string {
		return seen[map[string]string](mine, "/api/why?peer="+url.QueryEscape(peer))["why"]
	}

	nodes[5].kill()
	find(t, "a node was killed", func() bool { return happened(mine, ids[5], "disconnected") })
	t.Log(why(ids[5]))

	// The firewall of node 2 drops what comes from this node.
	rule := fmt.Sprintf("table inet wall { chain in { type filter hook input priority 0; ip saddr %s drop; }; chain out { type filter hook output priority 0; ip daddr %s drop; }; }", ips[1], ips[1])
	if _, err := exec.LookPath("nft"); err != nil {
		w.ip("-n", places[2].name, "route", "add", "blackhole", ips[1]+"/32")
	} else if out, err := exec.Command("ip", "netns", "exec", places[2].name, "nft", rule).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	find(t, "the session with the other side of the wall ended", func() bool { return happened(mine, ids[2], "disconnected") })
	find(t, "it cannot be dialled", func() bool { return happened(mine, ids[2], "dial failed") })
	find(t, "others still see it", func() bool {
		return slices.ContainsFunc(seen[[]peerSeen](nodes[3], "/api/peers"), func(p peerSeen) bool { return p.ID == ids[2] })
	})
	t.Log(why(ids[2]))

	nodes[4].Say("pour " + strings.Repeat("x", 500))
	find(t, "the type that is flooded", func() bool {
		return slices.ContainsFunc(seen[[]flowSeen](mine, "/api/flow"), func(f flowSeen) bool { return f.Name == "note" && f.Rate.In > 100 })
	})
	find(t, "the node that floods", func() bool {
		peers := seen[[]peerSeen](mine, "/api/peers")
		if len(peers) == 0 {
			return false
		}
		most := slices.MaxFunc(peers, func(a, b peerSeen) int { return cmp.Compare(a.In, b.In) })
		return most.In > 10_000 && most.ID == ids[4]
	})
}
