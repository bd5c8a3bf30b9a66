package listener_test

import (
	"context"
	"fmt"
	"log"
	"net"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// A listener on a socket accepts in a goroutine of its own, until it is closed.
func ExampleListener_Serve() {
	listeners := listener.NewRegistry(nil, nil)
	defer listeners.Shutdown()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l, err := listeners.Add(listeners.NextID(), listener.Config{
		Kind: listener.Local, Protocol: "/x/web", Listen: ma.StringCast("/ip4/127.0.0.1/tcp/9090"),
		Group:   stream.NewRegistry(stream.Config{}).NewGroup(stream.Settings{}),
		Context: context.Background(), Stop: ln.Close,
	})
	if err != nil {
		ln.Close()
		log.Fatal(err)
	}
	accepted := make(chan struct{})
	l.Serve(ln, func(c net.Conn) {
		c.Close()
		close(accepted)
	})

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	c.Close()
	<-accepted
	fmt.Println(l.Info().State)
	fmt.Println(l.Close(), l.Info().State)
	// Output:
	// listening
	// <nil> closed
}

// Listeners are closed by any criterion; what ran through them is told.
func ExampleRegistry_CloseStreams() {
	listeners := listener.NewRegistry(nil, nil)
	defer listeners.Shutdown()
	streams := stream.NewRegistry(stream.Config{})
	for _, target := range []string{"/ip4/127.0.0.1/tcp/80", "/ip4/127.0.0.1/tcp/22"} {
		id := listeners.NextID()
		if _, err := listeners.Add(id, listener.Config{
			Kind: listener.Local, Listen: ma.StringCast("/ip4/127.0.0.1/tcp/9090"), Target: ma.StringCast(target),
			Group: streams.NewGroup(stream.Settings{Listener: id}), Context: context.Background(),
		}); err != nil {
			log.Fatal(err)
		}
	}
	closed, reset := listeners.CloseStreams(listener.ByTarget(ma.StringCast("/ip4/127.0.0.1/tcp/22")))
	fmt.Println(closed[0].Target, len(reset))
	for _, l := range listeners.List() {
		fmt.Println("left:", l.Target)
	}
	// Output:
	// /ip4/127.0.0.1/tcp/22 0
	// left: /ip4/127.0.0.1/tcp/80
}
