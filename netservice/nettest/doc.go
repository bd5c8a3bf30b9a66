// Package nettest runs networks of real services in virtual time, for the
// tests of programs that use netservice.
//
// Each node is a whole NebService on a libp2p host of its own. Below it, TCP is
// replaced by an in-memory network with latency, jitter, loss, bandwidth,
// partitions and crashes. Inside a testing/synctest bubble an hour passes in
// moments.
//
// # What follows from the seed
//
// Keys, addresses, jitter, loss, and whom each node dials, gossips with, asks for peers
// and sends requests to follow from the seed (WithSeed), and so does by how much its
// times vary; after a restart a node makes other choices than before. A test that
// fails with one seed fails with it again, the same way, if it runs on one processor
// (runtime.GOMAXPROCS(1)) and without the race detector, which shuffles who runs next.
//
// What still varies: the order of what happens at one instant, which may change a
// little of what follows, more so with loss. So give links jitter, or lengths of their
// own (SetLink), and no bandwidth, whose bytes the scheduler shares out. Numbers of
// sessions, keys of connections, netservice.RandomPeers and the walks of Kademlia vary
// too. A test waits for what must happen, and does not count on the way there.
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
