// Quickstart runs five real nodes of one chain in one process, over TCP and
// QUIC on loopback. They know one boot node, find each other, and exchange two
// types of messages: blocks, of which none may be lost, and prices, of which
// only the newest matters. A table shows what goes on until Ctrl-C.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -for 10s
//	go run ./examples/quickstart -http 127.0.0.1:6060
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const nodes = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(stderr)
	length := fs.Duration("for", 0, "end by itself this long after the nodes have met (default: run until Ctrl-C)")
	page := fs.String("http", "", "HOST:PORT at which to serve the pages of the nodes (default: nowhere)")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if fs.NArg() > 0 || *length < 0 {
		fmt.Fprintln(stderr, "quickstart takes no arguments, and -for no negative time")
		fs.Usage()
		return 2
	}
	stdout = &output{w: stdout}
	pages, url := newPages(), ""
	if *page != "" {
		at, stop, err := pages.serve(*page)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		defer stop() // when the nodes have stopped, which ends the pages that are live
		url = at
	}
	net, err := startNetwork(ctx, nodes, pages, stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if url != "" {
		fmt.Fprintln(stdout, "pages of the nodes at", url)
	}
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	net.talk(ctx, func(elapsed time.Duration) { net.table(stdout, elapsed) })
	net.settle()
	ok := net.summary(stdout)
	if err := net.stop(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}
