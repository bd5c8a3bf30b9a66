package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/stream"
)

// connected returns two hosts with a connection between them.
func connected() (client, server host.Host) {
	var hosts [2]host.Host
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
		if err != nil {
			log.Fatal(err)
		}
		hosts[i] = h
	}
	if err := hosts[0].Connect(context.Background(), peer.AddrInfo{ID: hosts[1].ID(), Addrs: hosts[1].Addrs()}); err != nil {
		log.Fatal(err)
	}
	return hosts[0], hosts[1]
}

// A bridge joins a stream of a peer to a local connection, as package p2p does
// for each.
func ExampleStream_Bridge() {
	client, server := connected()
	defer client.Close()
	defer server.Close()
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
		fmt.Fprintf(c, "%s!", question)
	}()

	streams := stream.NewRegistry(stream.Config{})
	group := streams.NewGroup(stream.Settings{Protocol: "/x/web"})
	ended := make(chan error, 1)
	server.SetStreamHandler("/x/web", func(remote network.Stream) {
		s, ctx, err := group.Open(context.Background(), remote.Conn().RemotePeer(), stream.Inbound)
		if err != nil {
			remote.Reset()
			return
		}
		local, err := new(net.Dialer).DialContext(ctx, "tcp", service.Addr().String())
		if err != nil {
			remote.ResetWithError(stream.CodeTargetRefused)
			s.Fail(err)
			return
		}
		ended <- s.Bridge(local, remote, nil)
	})

	s, err := client.NewStream(context.Background(), server.ID(), "/x/web")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(s, "hello")
	s.CloseWrite()
	answer, _ := io.ReadAll(s)
	s.Close()
	fmt.Println(string(answer), <-ended)
	totals := group.Totals()
	fmt.Println(totals.BytesIn, totals.BytesOut, totals.Active)
	streams.Shutdown()
	// Output:
	// hello! <nil>
	// 5 6 0
}

// A stream as a net.Conn of the program.
func ExampleStream_Conn() {
	client, server := connected()
	defer client.Close()
	defer server.Close()
	server.SetStreamHandler("/x/echo", func(s network.Stream) {
		io.Copy(s, s)
		s.Close()
	})

	streams := stream.NewRegistry(stream.Config{})
	s, ctx, err := streams.NewGroup(stream.Settings{Protocol: "/x/echo"}).Open(context.Background(), server.ID(), stream.Outbound)
	if err != nil {
		log.Fatal(err)
	}
	remote, err := client.NewStream(ctx, server.ID(), "/x/echo")
	if err != nil {
		s.Fail(err)
		log.Fatal(err)
	}
	c, err := s.Conn(remote)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello")
	c.CloseWrite()
	answer, _ := io.ReadAll(c)
	fmt.Println(string(answer), c.Info().State)
	c.Close()
	fmt.Println(streams.Len())
	// Output:
	// hello local-done
	// 0
}

// Closing by any criterion tells what was closed.
func ExampleRegistry_Close() {
	streams := stream.NewRegistry(stream.Config{})
	web, ssh := streams.NewGroup(stream.Settings{Protocol: "/x/web"}), streams.NewGroup(stream.Settings{Protocol: "/x/ssh"})
	for _, g := range []*stream.Group{web, ssh} {
		s, ctx, err := g.Open(context.Background(), "peer", stream.Outbound)
		if err != nil {
			log.Fatal(err)
		}
		go func() { // as one who dials would
			<-ctx.Done()
			s.Fail(context.Cause(ctx))
		}()
	}
	for _, i := range streams.Close(stream.ByProtocol("/x/web")) {
		<-i.Done()
		fmt.Println(i.Protocol, errors.Is(i.Err(), net.ErrClosed))
	}
	fmt.Println(streams.Len(), "left")
	streams.Shutdown()
	// Output:
	// /x/web true
	// 1 left
}

// What the peer meant by a reset.
func ExampleExplain() {
	err := stream.Explain(&network.StreamError{ErrorCode: stream.CodeTargetRefused, Remote: true})
	fmt.Println(errors.Is(err, stream.ErrTargetRefused), errors.Is(err, network.ErrReset))
	// Output: true true
}
