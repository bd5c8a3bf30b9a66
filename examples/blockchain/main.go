// Blockchain is a small chain that lives on package netservice: transactions and
// blocks signed with ed25519, four validators that take turns, the longest chain
// wins, blocks on disk. Each file says at its top what it teaches. Read node.go, then
// tx.go, block.go, chain.go, store.go, mempool.go, sync.go, network.go, pages.go.
//
// A network in one process, with a live table, a load of transactions, and a page of
// each node for a browser:
//
//	go run ./examples/blockchain -nodes 6 -for 60s -http 127.0.0.1:6060
//
// At the end all nodes have the same head, or the exit status is not 0.
//
// One node on each of several terminals; without -validator it follows:
//
//	go run ./examples/blockchain -node -validator 0 -listen /ip4/127.0.0.1/tcp/7101 -data /tmp/chain0
//	go run ./examples/blockchain -node -validator 1 -bootstrap ADDRESS -data /tmp/chain1
//	go run ./examples/blockchain -node -bootstrap ADDRESS
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("blockchain", flag.ContinueOnError)
	fs.SetOutput(stderr)
	nodes := fs.Int("nodes", 6, "nodes of the network in this process, at least 4: the first four are the validators")
	length := fs.Duration("for", 0, "end by itself after this time (default: run until Ctrl-C)")
	single := fs.Bool("node", false, "run one node as this process")
	validator := fs.Int("validator", -1, "with -node: make blocks as this validator, 0 to 3")
	data := fs.String("data", "", "with -node: directory for blocks and key (default: a temporary one)")
	listen := fs.String("listen", "/ip4/127.0.0.1/tcp/0", "with -node: address to listen on")
	bootstrap := fs.String("bootstrap", "", "with -node: full addresses of nodes to connect to, with commas between")
	addr := fs.String("http", "", "serve a page of each node at this address, such as 127.0.0.1:6060")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if fs.NArg() > 0 || *length < 0 || *nodes < len(validatorKeys) || *validator >= len(validatorKeys) {
		fmt.Fprintln(stderr, "blockchain takes no arguments, no negative time, at least 4 nodes, and validators 0 to 3")
		fs.Usage()
		return 2
	}
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	p := new(pages)
	stop, err := p.serve(*addr, stdout)
	defer stop()
	if err == nil && *single {
		cfg := config(*listen, strings.FieldsFunc(*bootstrap, func(r rune) bool { return r == ',' })...)
		err = runNode(ctx, *data, *validator, cfg, p, stdout)
	} else if err == nil {
		err = runNetwork(ctx, *nodes, p, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// runNode is one node as a process.
func runNode(ctx context.Context, dir string, validator int, cfg netservice.Config, p *pages, out io.Writer) error {
	if dir == "" {
		dir, _ = os.MkdirTemp("", "toychain") // without one, startNode fails
		defer os.RemoveAll(dir)
	}
	n, err := startNode(dir, validator, cfg, out)
	if err != nil {
		return err
	}
	p.show(0, n)
	for _, a := range n.svc.Node().Addrs() {
		fmt.Fprintln(out, "listening on", a)
	}
	for ticks := time.Tick(slotTime); ; {
		select {
		case <-ticks:
			s := n.status()
			fmt.Fprintf(out, "block %d %s, %d peers, %d transactions wait\n", s.Height, s.Head.short(), len(n.svc.Peers()), n.pool.size())
		case <-ctx.Done():
			return n.close()
		}
	}
}
