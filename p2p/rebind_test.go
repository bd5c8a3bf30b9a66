package p2p

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// names is a name server that gives every name the same addresses, which may
// change between two questions.
type names struct {
	mu      sync.Mutex // guards answers
	answers []netip.Addr
	texts   []string // TXT records
}

func (n *names) set(answers ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers = nil
	for _, a := range answers {
		n.answers = append(n.answers, netip.MustParseAddr(a))
	}
}

// resolver asks the name server in memory.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for n.reply(theirs) == nil {
			}
		}()
		return ours, nil
	}}
}

// reply answers one question, in the form that DNS has over TCP.
func (n *names) reply(c net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, query); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return err
	}
	m.Response, m.Additionals = true, nil
	n.mu.Lock()
	for _, a := range n.answers {
		q := m.Questions[0]
		head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	if q := m.Questions[0]; q.Type == dnsmessage.TypeTXT {
		for _, text := range n.texts {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.TXTResource{TXT: []string{text}},
			})
		}
	}
	n.mu.Unlock()
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// Row 29: a name that resolves to an allowed address when the tunnel is made,
// and to another one later, leads nowhere else.
func TestRebindingIsDenied(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		var dns names
		serve.resolver = dns.resolver()
		dns.set("127.0.0.1")
		target := hostPort(t, echoService(t))
		_, port, _ := strings.Cut(target, ":")

		// Behind another address of this machine, something that must not be
		// reached. (Not every system has the rest of 127/8.)
		if trap, err := net.Listen("tcp", "127.0.0.2:"+port); err == nil {
			sprung := make(chan struct{})
			go func() {
				defer close(sprung)
				if c, err := trap.Accept(); err == nil {
					t.Errorf("%s was connected to", c.LocalAddr())
					_ = c.Close()
				}
			}()
			defer func() { _ = trap.Close(); <-sprung }()
		}

		one := AllowPrefixes(netip.MustParsePrefix("127.0.0.1/32"))
		_, err := serve.NewListener(t.Context(), web, testkit.Addr(t, fmt.Sprintf("/dns/rebind.test/tcp/%s", port)), WithTargetRule(one))
		if err != nil {
			t.Fatal(err)
		}
		at := bind(t, dial, serve.self)
		mustEcho(t, connect(t, at), "before")
		bad := []string{
			"127.0.0.2", "169.254.169.254", "10.0.0.1", "0.0.0.0",
			"::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1",
		}
		for i, a := range bad {
			dns.set(a)
			wantRefused(t, at)
			awaitCount(t, serve, 1)
			if n := serve.obs.Counter(obs.TunnelFailed + "target_denied").Count(); n != int64(i+1) {
				t.Errorf("%s: %d denied", a, n)
			}
		}
		// Of several addresses, only the allowed one is used.
		dns.set("127.0.0.2", "10.0.0.1", "127.0.0.1")
		mustEcho(t, connect(t, at), "among others")
	})
}

// A tunnel to /dnsaddr/host needs no peer ID, as with kubo.
func TestTunnelToAName(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
			t.Fatal(err)
		}
		var dns names
		dial.resolver = dns.resolver()
		at := fmt.Sprintf("dnsaddr=%s/p2p/%s", serve.host.Addrs()[0], serve.self)
		dns.texts = []string{"dnsaddr=/ip4/127.0.0.1/tcp/1", at}
		const name = "/dnsaddr/node.example.org"
		l, err := dial.Dial(t.Context(), testkit.Addr(t, name), "", web, testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, connectInfo(t, l), "by name")
		tunnel := Tunnel{Protocol: web, Bind: loopback, Peer: name}
		if err := tunnel.Validate(); err != nil {
			t.Error(err)
		}
		if err := dial.Apply(t.Context(), []Tunnel{tunnel}); err != nil {
			t.Error(err)
		}
		dns.texts = []string{at, fmt.Sprintf("dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/%s", dial.self)}
		_, err = dial.Dial(t.Context(), testkit.Addr(t, name), "", web, testkit.Addr(t, loopback))
		wantErr(t, err, ErrAddress)
		dns.texts = nil
		_, err = dial.Dial(t.Context(), testkit.Addr(t, name), "", web, testkit.Addr(t, loopback))
		wantErr(t, err, ErrUnreachable)
	})
}
