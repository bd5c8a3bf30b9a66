package stream_test

import (
	"context"
	"fmt"

	"github.com/go-nebnet/nebnet/stream"
)

func ExampleRegistry() {
	streams := stream.NewRegistry(stream.Config{Limits: stream.Limits{PerPeer: 1}})
	web := streams.NewGroup(stream.Settings{Protocol: "/x/web"})
	s, _, err := web.Open(context.Background(), "peer", stream.Inbound)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range streams.List() {
		fmt.Println(i.ID, i.Protocol, i.Direction, i.State)
	}
	_, _, err = web.Open(context.Background(), "peer", stream.Inbound)
	fmt.Println(err)
	s.Fail(stream.ErrTargetRefused)
	fmt.Println(streams.Len())
	// Output:
	// 1 /x/web in dialing
	// stream limit reached (peer: 1, WithMaxStreamsPerPeer)
	// 0
}
