package netns

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

const (
	victimAddr = "20.0.0.1"
	honestAddr = "22.0.0.1"
)

// node starts a service and returns it with its address.
func (p *place) node(listen, boot string) (*process, string) {
	p.w.t.Helper()
	return p.service(func(c *netservice.Config) {
		c.Listen = []string{listen}
		if boot != "" {
			c.Bootstrap = []string{boot}
		}
	})
}

// service starts a service as the function has it, and returns it with its address.
func (p *place) service(change func(*netservice.Config)) (*process, string) {
	p.w.t.Helper()
	cfg := netservice.Config{ChainID: "netns"}
	change(&cfg)
	n := p.run(part{Do: "node", Config: cfg})
	return n, n.hear("address", 20*time.Second)
}

func tcpAt(ip string) string { return "/ip4/" + ip + "/tcp/4001" }

// serve has an honest node come, be let in, and go.
func serve(t *testing.T, at *place, victim string) {
	t.Helper()
	begin := time.Now()
	n, _ := at.node(tcpAt(honestAddr), "")
	n.Say("connect " + victim)
	n.hear("connected", 5*time.Second)
	n.CloseInput()
	n.Exit()
	t.Logf("an honest node came and went in %s", time.Since(begin).Round(time.Millisecond))
}

// addresses are n of them, such as 21.0.0.%d.
func addresses(n int, format string) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(format, i+1))
	}
	return all
}

// Of the sockets that say nothing only so many stand at once; they are dropped
// within the time for a handshake, and honest nodes connect meanwhile.
func TestSilentSockets(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	w := newWorld(t)
	const count = 1500
	_, address := w.add(victimAddr).node(tcpAt(victimAddr), "")
	from := addresses(60, "21.0.%d.1")
	attacker, honest := w.add(from...), w.add(honestAddr)
	serve(t, honest, address)

	begin := time.Now()
	silent := attacker.run(part{Do: "silence", Target: address, Count: count, From: from})
	standing, err := strconv.Atoi(silent.hear("tried", 30*time.Second))
	if err != nil || standing < 1 || standing >= count {
		t.Errorf("%d of %d silent sockets stand: %v", standing, count, err)
	}
	serve(t, honest, address)
	silent.hear("over", 20*time.Second-time.Since(begin))
	t.Logf("the last was dropped %s after the first came", time.Since(begin).Round(time.Millisecond))
	serve(t, honest, address)
}

// Many keys from one address, and from one /24: what they can take is capped,
// and others find a place.
func TestConnectionFlood(t *testing.T) {
	for name, c := range map[string]struct {
		from []string
		most int
	}{
		"one address": {[]string{"21.0.0.1"}, 64},
		"one subnet":  {addresses(200, "21.0.0.%d"), 256},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			victim, address := w.add(victimAddr).node(tcpAt(victimAddr), "")
			attacker, honest := w.add(c.from...), w.add(honestAddr)
			serve(t, honest, address)
			flood := attacker.run(part{Do: "flood", Target: address, Count: c.most + 100, From: c.from})
			t.Logf("%s of %d connected", flood.hear("tried", 2*time.Minute), c.most+100)
			serve(t, honest, address)
			r := victim.report()
			if r.Most < 10 || r.Most > c.most || r.Refused == 0 || len(r.Peers) != 0 {
				t.Errorf("%+v, want at most %d connections at once, refusals, no peers", r, c.most)
			}
		})
	}
}

// A peer whose cable was pulled is noticed within ten seconds, on both sides,
// whether the link tells of it or not; and found again.
func TestPulledCable(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	for _, transport := range []string{"tcp/4001", "udp/4001/quic-v1"} {
		for _, pull := range []string{"the link stays up", "the link goes down"} {
			t.Run(strings.SplitN(transport, "/", 2)[0]+", "+pull, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				at := w.add(honestAddr)
				a, address := w.add(victimAddr).node("/ip4/"+victimAddr+"/"+transport, "")
				b, _ := at.node("/ip4/"+honestAddr+"/"+transport, address)
				sides := []*process{a, b}
				for _, n := range sides {
					n.hear("connected", 20*time.Second)
				}
				out, in := at.pull, at.plug
				if pull == "the link goes down" {
					out, in = at.unlink, at.link
				}
				out()
				begin := time.Now()
				for i, n := range sides {
					reason := n.hear("disconnected", 10*time.Second-time.Since(begin))
					if !slices.Contains([]string{"ping_timeout", "transport_lost"}, reason) {
						t.Errorf("side %d: %s", i, reason)
					}
				}
				t.Logf("noticed after %s", time.Since(begin).Round(time.Millisecond))
				in()
				begin = time.Now()
				for _, n := range sides {
					n.hear("connected", time.Minute)
				}
				t.Logf("found again after %s", time.Since(begin).Round(time.Millisecond))
			})
		}
	}
}
