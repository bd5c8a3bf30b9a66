package nettest

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// patience is how long the Wait methods wait, in virtual time.
const patience = 2 * time.Minute

// Node is one service of a Network.
type Node struct {
	network *Network
	ip      netip.Addr
	cfg     netservice.Config
	opts    []netservice.Option
	service *netservice.NebService
	running bool
	run     int // how often it was made
	disk    *disk
}

// make makes the service anew, with the same identity and address.
func (nd *Node) make() {
	tb := nd.network.tb
	tb.Helper()
	nd.run++
	key, err := nd.network.net.Key(nd.ip)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := nd.cfg
	cfg.DataDir = ""
	cfg.Listen = []string{testnet.Multiaddr(nd.ip).String()}
	opts := append([]netservice.Option{
		netservice.WithIdentity(key),
		netservice.WithTransport(nd.network.net.Transport(nd.ip)),
		netservice.WithSeed(nd.seed()),
		netservice.WithPeerStore(nd.disk.mount()),
		netservice.WithHostOptions(libp2p.DisableIdentifyAddressDiscovery()),
	}, nd.opts...)
	if nd.service, err = netservice.NewNebService(cfg, opts...); err != nil {
		tb.Fatalf("node on %s: %v", nd.ip, err)
	}
}

// seed is for the choices of one run of the node: after a restart it does not make
// those again that it made before.
func (nd *Node) seed() uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, nd.network.seed, nd.ip, nd.run)
	return h.Sum64()
}

// Service is the node's service, a new one after each Restart.
func (nd *Node) Service() *netservice.NebService { return nd.service }

// ID is the node's peer ID, the same for its whole life.
func (nd *Node) ID() peer.ID { return nd.service.Node().ID() }

// IP is the node's address in the simulated network.
func (nd *Node) IP() netip.Addr { return nd.ip }

// Addr is the node's full multiaddr, known before it is started.
func (nd *Node) Addr() string { return fmt.Sprintf("%s/p2p/%s", testnet.Multiaddr(nd.ip), nd.ID()) }

// Start starts the node, if it is not running. One that was stopped, crashed or
// killed needs Restart.
func (nd *Node) Start() {
	nd.network.tb.Helper()
	if nd.running {
		return
	}
	if err := nd.service.Start(); err != nil {
		nd.network.tb.Fatalf("node on %s: %v", nd.ip, err)
	}
	nd.running = true
}

// Stop stops the node in good order, if it is running.
func (nd *Node) Stop() {
	nd.network.tb.Helper()
	if !nd.running {
		return
	}
	nd.running = false
	if err := nd.service.Stop(); err != nil {
		nd.network.tb.Errorf("node on %s: %v", nd.ip, err)
	}
}

// Crash is a power failure: the node is gone and nobody is told. Its service
// is stopped without a way to the network.
func (nd *Node) Crash() {
	nd.network.tb.Helper()
	nd.network.net.Crash(nd.ip)
	nd.bury()
}

// Kill ends the node's process as SIGKILL would: its connections are reset.
func (nd *Node) Kill() {
	nd.network.tb.Helper()
	nd.network.net.Kill(nd.ip)
	nd.bury()
}

// bury frees what a dead process would have lost; its errors mean nothing.
func (nd *Node) bury() {
	nd.disk.unplug()
	if nd.running {
		nd.running = false
		nd.service.Stop()
	}
}

// Restart makes a node that was stopped, crashed or killed anew, with the same
// identity and address, and starts it. setup, where given, is called with the
// new service before it starts, to subscribe.
func (nd *Node) Restart(setup ...func(*netservice.NebService)) {
	nd.network.tb.Helper()
	nd.Stop()
	nd.network.net.Restart(nd.ip)
	nd.make()
	for _, f := range setup {
		f(nd.service)
	}
	nd.Start()
}

// WaitForPeers waits until the node has at least n peers, and fails the test
// after two virtual minutes.
func (nd *Node) WaitForPeers(n int) {
	nd.network.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := nd.service.WaitForPeers(ctx, n); err != nil {
		nd.network.tb.Fatalf("node on %s has %d of %d peers: %v", nd.ip, len(nd.service.Peers()), n, err)
	}
}
