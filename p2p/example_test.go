package p2p_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/p2p"
	"github.com/go-nebnet/nebnet/stream"
)

// twoPeers returns two hosts that can reach each other.
func twoPeers() (a, b host.Host) {
	var hosts [2]host.Host
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
		if err != nil {
			log.Fatal(err)
		}
		hosts[i] = h
	}
	hosts[0].Peerstore().AddAddrs(hosts[1].ID(), hosts[1].Addrs(), peerstore.PermanentAddrTTL)
	return hosts[0], hosts[1]
}

func quiet() p2p.Option {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return p2p.WithLogger(l)
}

// An http.Server runs over peers without any port: P2P.Listen is its listener,
// and P2P.DialConn the client's dialler.
func Example_httpWithoutAPort() {
	client, server := twoPeers()
	defer client.Close()
	defer server.Close()
	dialing := p2p.NewP2P(client.ID(), client, client.Peerstore(), quiet())
	defer dialing.Close()
	serving := p2p.NewP2P(server.ID(), server, server.Peerstore(), quiet())
	defer serving.Close()

	ln, err := serving.Listen(context.Background(), "/x/hello")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, peer %t", r.RemoteAddr == client.ID().String())
	})}
	go srv.Serve(ln)
	defer srv.Close()

	web := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialing.DialConn(ctx, server.ID(), "/x/hello")
		},
	}}
	res, err := web.Get("http://peer/")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(string(body))
	// Output: hello, peer true
}

// A local TCP service is reached through a local port of another peer.
func Example() {
	client, server := twoPeers()
	defer client.Close()
	defer server.Close()

	// The service: anything that listens on TCP.
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	go func() {
		c, err := service.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		question, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%s to you, too", question)
	}()
	target, _ := manet.FromNetAddr(service.Addr())

	// One peer serves it, the other forwards a port to it.
	serving := p2p.NewP2P(server.ID(), server, server.Peerstore(), quiet())
	defer serving.Close()
	if _, err := serving.NewListener(context.Background(), "/x/hello", target, p2p.WithAdmit(client.ID())); err != nil {
		log.Fatal(err)
	}
	dialing := p2p.NewP2P(client.ID(), client, client.Peerstore(), quiet())
	defer dialing.Close()
	bind := ma.StringCast("/ip4/127.0.0.1/tcp/0")
	tunnel, err := dialing.Dial(context.Background(), nil, server.ID(), "/x/hello", bind)
	if err != nil {
		log.Fatal(err)
	}

	at, _ := manet.ToNetAddr(tunnel.Listen)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "good day")
	c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	fmt.Println(string(answer))
	// Output: good day to you, too
}

// Apply makes the tunnels of a configuration run, and follows its changes.
func ExampleP2P_Apply() {
	client, server := twoPeers()
	defer client.Close()
	defer server.Close()
	tunnels := p2p.NewP2P(client.ID(), client, client.Peerstore(), quiet())
	defer tunnels.Close()

	err := tunnels.Apply(context.Background(), []p2p.Tunnel{
		{Protocol: "/x/web", Bind: "/ip4/127.0.0.1/tcp/0", Peer: server.ID().String()},
		{Protocol: "/x/ssh", Target: "/ip4/127.0.0.1/tcp/22", Admit: []string{server.ID().String()}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range tunnels.Listeners.List() {
		fmt.Println(l.Kind, l.Protocol, l.State)
	}
	// Output:
	// local /x/web listening
	// remote /x/ssh listening
}

// Closing a listener leaves its running streams alone and tells which they are.
func ExampleP2P_NewListener() {
	client, server := twoPeers()
	defer client.Close()
	defer server.Close()
	tunnels := p2p.NewP2P(server.ID(), server, server.Peerstore(), quiet())
	defer tunnels.Close()

	_, err := tunnels.NewListener(context.Background(), "/x/db", ma.StringCast("/ip4/127.0.0.1/tcp/5432"),
		p2p.WithTargetRule(p2p.LoopbackOnly), p2p.WithMaxStreamsPerPeer(8))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tunnels.CheckProtoExists("/x/db"))
	closed, running := tunnels.Listeners.Close(listener.ByProtocol("/x/db"))
	fmt.Println(len(closed), "closed,", len(running), "streams go on")
	tunnels.Streams.Close(stream.All())
	// Output:
	// true
	// 1 closed, 0 streams go on
}
