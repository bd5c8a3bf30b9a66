package nettest_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

var news = netservice.Declare("news", netservice.Raw())

// silent gives a service a logger that says nothing.
func silent() netservice.Option {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return netservice.WithLogger(log)
}

// A test of a program that uses this package: what a node says reaches another
// one again after a minute of power failure, and the minute takes no time.
func TestNewsAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nettest.New(t, nettest.WithLink(nettest.Link{Latency: 50 * time.Millisecond}))
		a := net.Add(netservice.Config{ChainID: "test"}, silent())
		b := net.Add(netservice.Config{ChainID: "test", Bootstrap: []string{a.Addr()}}, silent())
		got := make(chan string, 1)
		_, err := news.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) })
		if err != nil {
			t.Fatal(err)
		}
		net.Start()
		b.WaitForPeers(1)

		a.Crash()
		time.Sleep(time.Minute)
		a.Restart()
		b.WaitForPeers(1)
		if err := news.Broadcast(t.Context(), a.Service(), []byte("we are back")); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != "we are back" {
			t.Errorf("got %q", s)
		}
	})
}
