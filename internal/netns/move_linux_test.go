package netns

import (
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// A node that gets another address, while it is connected or with a cable that was
// out meanwhile, is back with all of its peers within 30 s, and messages pass both
// ways. (Over QUIC connections may outlive the change: then the node is still shown
// where it was.)
func TestAddressChange(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	const old, fresh = "23.0.0.1", "23.7.0.9"
	for _, transport := range []string{"tcp/4001", "udp/4001/quic-v1"} {
		for _, how := range []string{"connected", "away"} {
			t.Run(strings.SplitN(transport, "/", 2)[0]+", "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				var others []*process
				boot := ""
				for _, ip := range []string{"20.0.0.1", "21.0.0.1", "22.0.0.1", "20.1.0.1"} {
					n, address := w.add(ip).node("/ip4/"+ip+"/"+transport, boot)
					if boot == "" {
						boot = address
					}
					others = append(others, n)
				}
				at := w.add(old)
				me, _ := at.service(func(c *netservice.Config) {
					c.Listen, c.Bootstrap = []string{"/ip4/0.0.0.0/" + transport}, []string{boot}
				})
				all := func(r report) bool { return len(r.Peers) == len(others) }
				for _, n := range append(others, me) {
					n.until("it has all peers", 30*time.Second, all)
				}
				if how == "away" {
					at.unlink()
					me.until("it has none", 20*time.Second, func(r report) bool { return len(r.Peers) == 0 })
				}
				at.move(old, fresh)
				if how == "away" {
					at.link()
				}
				begin := time.Now()
				left := func() time.Duration { return 30*time.Second - time.Since(begin) }
				for _, n := range others {
					n.until("it is heard", left(), func(r report) bool {
						me.Say("say hello")
						return all(r) && r.Heard > 0
					})
				}
				before := me.report().Heard
				me.until("it has all peers, and hears them", left(), func(r report) bool {
					for _, n := range others {
						n.Say("say hello")
					}
					return all(r) && r.Heard >= before+len(others)
				})
				t.Logf("back %s after the address changed", time.Since(begin).Round(time.Millisecond))
				// libp2p asks for the addresses of the machine once a minute. Over QUIC others
				// may still see the old one.
				if how == "connected" && strings.HasPrefix(transport, "tcp") {
					me.until("it tells the address that it has", 90*time.Second, func(r report) bool {
						told := strings.Join(r.Reach.Addrs, " ")
						return strings.Contains(told, fresh) && !strings.Contains(told, old) && !strings.Contains(told, "0.0.0.0")
					})
				}
			})
		}
	}
}
