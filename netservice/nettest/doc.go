// Package nettest runs networks of real services in virtual time, for the
// tests of programs that use netservice.
//
// Each node is a whole NebService on a libp2p host of its own. Below it, TCP is
// replaced by an in-memory network with latency, jitter, loss, bandwidth,
// partitions and crashes. Inside a testing/synctest bubble an hour passes in
// moments. Keys, addresses, jitter and loss follow from the seed (WithSeed). Which
// peers gossip and peer exchange choose, the random parts of back-offs, and the order
// of what happens at one instant do not: a test waits for what must happen, and does
// not count on the way there.
//
//	synctest.Test(t, func(t *testing.T) {
//		net := nettest.New(t, nettest.WithLink(nettest.Link{Latency: 50 * time.Millisecond}))
//		a := net.Add(netservice.Config{ChainID: "test"})
//		b := net.Add(netservice.Config{ChainID: "test", Bootstrap: []string{a.Addr()}})
//		net.Start()
//		b.WaitForPeers(1)
//		net.Isolate(a)
//		...
//	})
//
// Make the Network inside the bubble. It stops its services when the test
// ends. QUIC cannot be had here.
package nettest
