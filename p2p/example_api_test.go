package p2p_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/p2p"
)

// joined returns the tunnels of two peers that can reach each other, and what
// closes all of it.
func joined() (dialing, serving *p2p.P2P, end func()) {
	client, server := twoPeers()
	dialing = p2p.NewP2P(client.ID(), client, client.Peerstore(), quiet())
	serving = p2p.NewP2P(server.ID(), server, server.Peerstore(), quiet())
	return dialing, serving, func() {
		dialing.Close()
		serving.Close()
		client.Close()
		server.Close()
	}
}

// serve serves a protocol with a function for each connection.
func serve(serving *p2p.P2P, proto string, handle func(net.Conn)) {
	ln, err := serving.Listen(context.Background(), proto)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
}

// echo serves a protocol that sends back what it gets.
func echo(serving *p2p.P2P, proto string) {
	serve(serving, proto, func(c net.Conn) {
		defer c.Close()
		io.Copy(c, c)
	})
}

// A local port leads to a peer. Port 0 is any free one; the result tells which.
func ExampleP2P_Dial() {
	dialing, serving, end := joined()
	defer end()
	echo(serving, "/x/echo")

	ctx, cancel := context.WithCancel(context.Background())
	tunnel, err := dialing.Dial(ctx, nil, serving.Identity(), "/x/echo", ma.StringCast("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	at, _ := manet.ToNetAddr(tunnel.Listen)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "through the tunnel")
	c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	c.Close()
	fmt.Println(string(answer))

	cancel() // the tunnel ends with its context
	<-tunnel.Done()
	now := tunnel.Now()
	fmt.Println(now.State, now.Accepted, "connection,", now.BytesIn, "bytes in,", now.BytesOut, "out")
	// Output:
	// through the tunnel
	// closed 1 connection, 18 bytes in, 18 out
}

// A program needs no port to reach a peer.
func ExampleP2P_DialConn() {
	dialing, serving, end := joined()
	defer end()
	echo(serving, "/x/echo")

	c, err := dialing.DialConn(context.Background(), serving.Identity(), "/x/echo")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "hello")
	answer := make([]byte, 5)
	io.ReadFull(c, answer)
	fmt.Println(string(answer), c.RemoteAddr().Network(), c.RemoteAddr().String() == serving.Identity().String())

	_, err = dialing.DialConn(context.Background(), serving.Identity(), "/x/other")
	fmt.Println(errors.Is(err, p2p.ErrNotServed))
	// Output:
	// hello libp2p true
	// true
}

// An http.Server on a net.Listener of peers. It opens no port.
func ExampleP2P_Listen() {
	dialing, serving, end := joined()
	defer end()

	ln, err := serving.Listen(context.Background(), "/x/web", p2p.WithAdmit(dialing.Identity()))
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go func() { served <- srv.Serve(ln) }()

	web := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialing.DialConn(ctx, serving.Identity(), "/x/web")
		},
	}}
	res, err := web.Get("http://peer/nothing")
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(res.Status)
	srv.Close()
	fmt.Println(<-served)
	web.CloseIdleConnections()
	// Output:
	// 404 Not Found
	// http: Server closed
}

// Whether a peer can be reached and serves a protocol, before anybody connects.
func ExampleP2P_CheckRemote() {
	dialing, serving, end := joined()
	defer end()
	echo(serving, "/x/echo")

	ctx := context.Background()
	fmt.Println(dialing.CheckRemote(ctx, serving.Identity(), "/x/echo"))
	fmt.Println(errors.Is(dialing.CheckRemote(ctx, serving.Identity(), "/x/other"), p2p.ErrNotServed))
	fmt.Println(errors.Is(dialing.CheckRemote(ctx, "nobody", "/x/echo"), p2p.ErrUnreachable))
	// Output:
	// <nil>
	// true
	// true
}

// A service may be anywhere in the own network, and nowhere else.
func ExampleAllowPrefixes() {
	_, serving, end := joined()
	defer end()

	rule := p2p.AllowPrefixes(netip.MustParsePrefix("10.0.0.0/8"))
	for _, target := range []string{"/ip4/10.1.2.3/tcp/80", "/ip4/169.254.169.254/tcp/80"} {
		_, err := serving.NewListener(context.Background(), "/x/web", ma.StringCast(target), p2p.WithTargetRule(rule))
		fmt.Println(target, errors.Is(err, p2p.ErrTargetDenied))
	}
	// Output:
	// /ip4/10.1.2.3/tcp/80 false
	// /ip4/169.254.169.254/tcp/80 true
}

// Rules join: loopback, or one unix socket.
func ExampleAnyOf() {
	rule := p2p.AnyOf(p2p.LoopbackOnly, p2p.AllowUnix("/run/web.sock"))
	for _, t := range []p2p.Target{
		{Addr: netip.MustParseAddrPort("127.0.0.1:80")},
		{Addr: netip.MustParseAddrPort("192.0.2.1:80")},
		{Path: "/run/web.sock"},
		{Path: "/run/other.sock"},
	} {
		fmt.Println(t, rule(t))
	}
	// Output:
	// 127.0.0.1:80 true
	// 192.0.2.1:80 false
	// unix:/run/web.sock true
	// unix:/run/other.sock false
}

// Every mistake of a configuration is reported, with its place.
func ExampleValidateTunnels() {
	err := p2p.ValidateTunnels([]p2p.Tunnel{
		{Protocol: "web", Target: "/ip4/127.0.0.1/tcp/80"},
		{Protocol: "/x/web", Target: "/ip4/127.0.0.1/tcp/80", MaxStreams: -1},
	})
	fmt.Println(err)
	// Output:
	// tunnels[0] (web): protocol: protocol name not allowed: "web" does not begin with /x/
	// tunnels[1] (/x/web): max_streams: is negative
}

// A host that is made without this library needs room for many streams.
func ExampleResourceLimits() {
	limits := p2p.ResourceLimits(1000).Build(rcmgr.DefaultLimits.AutoScale())
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), rcmgr.WithMetricsDisabled())
	if err != nil {
		log.Fatal(err)
	}
	h, err := libp2p.New(libp2p.ResourceManager(rm), libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	tunnels := p2p.NewP2P("", h, nil, quiet()) // identity and peerstore of the host
	defer tunnels.Close()
	fmt.Println(tunnels.Identity() == h.ID())
	// Output: true
}
