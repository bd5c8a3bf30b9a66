package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/p2p"
)

// waitForEnd waits until the input of a part ends.
func waitForEnd() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// Row 21: a stranger opens streams of all protocols there are and resets them at
// once, for seconds. The node serves others meanwhile, and nothing of it is left.
func TestStorm(t *testing.T) {
	w := newWorld(t)
	victim, address := w.add(victimAddr).node(tcpAt(victimAddr), "")
	attacker, honest := w.add("21.0.0.1"), w.add(honestAddr)
	serve(t, honest, address)
	base := victim.report().Goroutines
	storm := attacker.run(part{Do: "storm", Target: address})
	storm.hear("begun", 20*time.Second)
	serve(t, honest, address)
	t.Logf("%s streams were opened and reset", storm.hear("opened", time.Minute))
	storm.CloseInput()
	victim.until("quiet again", time.Minute, func(r report) bool { return r.Goroutines <= base+5 && r.Now == 0 })
	serve(t, honest, address)
}

// storm connects, again when it is thrown out, and opens streams for five seconds.
func (p part) storm() error {
	target, err := peer.AddrInfoFromString(p.Target)
	if err != nil {
		return err
	}
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(), libp2p.ResourceManager(&network.NullResourceManager{}))
	if err != nil {
		return err
	}
	defer h.Close()
	h.Peerstore().AddAddrs(target.ID, target.Addrs, peerstore.PermanentAddrTTL)
	if err := h.Connect(context.Background(), *target); err != nil {
		return err
	}
	ids, err := h.Peerstore().GetProtocols(target.ID)
	if err != nil || len(ids) == 0 {
		return fmt.Errorf("protocols %q: %w", ids, err)
	}
	fmt.Println("begun", len(ids))
	opened := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		for _, id := range append(ids, protocol.ID("/unknown/1.0.0")) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if st, err := h.NewStream(ctx, target.ID, id); err == nil {
				_, _ = st.Write([]byte{0})
				_ = st.Reset()
				opened++
			}
			cancel()
		}
	}
	fmt.Println("opened", opened)
	return waitForEnd()
}

// Row 28: what one side of a tunnel has to say ends before what the other one has,
// each way; all of it arrives.
func TestTunnelHalfClose(t *testing.T) {
	const service, entry = "/ip4/127.0.0.1/tcp/9000", "/ip4/127.0.0.1/tcp/9001"
	for _, first := range []string{"client", "service"} {
		t.Run(first, func(t *testing.T) {
			w := newWorld(t)
			atA, atB := w.add(victimAddr), w.add(honestAddr)
			a, address := atA.service(func(c *netservice.Config) {
				c.Listen = []string{tcpAt(victimAddr)}
				c.Tunnels = []p2p.Tunnel{{Protocol: "/x/talk", Target: service}}
			})
			served := atA.run(part{Do: "talk", Target: "127.0.0.1:9000", First: first == "service", Serve: true})
			served.hear("ready", 10*time.Second)
			b, _ := atB.service(func(c *netservice.Config) {
				c.Listen, c.Bootstrap = []string{tcpAt(honestAddr)}, []string{address}
				c.Tunnels = []p2p.Tunnel{{Protocol: "/x/talk", Bind: entry, Peer: address}}
			})
			for _, n := range []*process{a, b} {
				n.hear("connected", 20*time.Second)
			}
			client := atB.run(part{Do: "talk", Target: "127.0.0.1:9001", First: first == "client"})
			for _, end := range []*process{client, served} { // who has said all may be far ahead of who hears it
				end.hear("done", time.Minute)
			}
		})
	}
}

const spoken = 1 << 20 // bytes each way

// talk is one end of a connection. Who is first says all and ends its side; the other
// one says nothing before it has heard that.
func (p part) talk() error {
	var c net.Conn
	var err error
	if p.Serve {
		l, err := net.Listen("tcp", p.Target)
		if err != nil {
			return err
		}
		defer l.Close()
		fmt.Println("ready", l.Addr())
		if c, err = l.Accept(); err != nil {
			return err
		}
	} else if c, err = net.Dial("tcp", p.Target); err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	say := func() error {
		if _, err := c.Write(bytes.Repeat([]byte{'x'}, spoken)); err != nil {
			return err
		}
		return c.(*net.TCPConn).CloseWrite()
	}
	hear := func() error {
		n, err := io.Copy(io.Discard, c)
		if err == nil && n != spoken {
			err = fmt.Errorf("heard %d bytes", n)
		}
		return err
	}
	if p.First {
		err = errors.Join(say(), hear())
	} else {
		err = errors.Join(hear(), say())
	}
	if err != nil {
		return err
	}
	fmt.Println("done", spoken)
	return waitForEnd()
}

// Row 46: a node that is stopped while it and others send to each other all the time
// ends in time. (A part that ends with an error or leaves goroutines fails.)
func TestStopUnderLoad(t *testing.T) {
	w := newWorld(t)
	victim, address := w.add(victimAddr).node(tcpAt(victimAddr), "")
	var others []*process
	for i := range 3 {
		ip := fmt.Sprintf("22.0.%d.1", i)
		n, _ := w.add(ip).node(tcpAt(ip), address)
		n.hear("connected", 20*time.Second)
		others = append(others, n)
	}
	for _, n := range append(others, victim) {
		n.Say("pour " + strings.Repeat("x", 1000))
	}
	victim.until("load", 30*time.Second, func(r report) bool { return r.Heard > 1000 })
	begin := time.Now()
	victim.CloseInput()
	if code := victim.Exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
	t.Logf("stopped within %s", time.Since(begin).Round(time.Millisecond))
	for _, n := range others {
		n.hear("disconnected", 20*time.Second)
	}
}

// Row 47: a cable that is pulled and put in again every other second. When it stays in,
// there is one session, and messages pass.
func TestFlappingCable(t *testing.T) {
	t.Parallel() // it is a matter of waiting
	w := newWorld(t)
	at := w.add(honestAddr)
	a, address := w.add(victimAddr).node(tcpAt(victimAddr), "")
	b, _ := at.node(tcpAt(honestAddr), address)
	for _, n := range []*process{a, b} {
		n.hear("connected", 20*time.Second)
	}
	for range 8 {
		at.pull()
		pause(t, 2*time.Second)
		at.plug()
		pause(t, 2*time.Second)
	}
	for _, n := range []*process{a, b} {
		n.until("one session", time.Minute, func(r report) bool { return len(r.Peers) == 1 })
	}
	heard := b.report().Heard
	a.Say("say again")
	b.until("heard", 20*time.Second, func(r report) bool { return r.Heard > heard })
}

// pause lets a state of the cable last, which nobody tells of.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
