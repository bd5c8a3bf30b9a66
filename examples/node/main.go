// Node is one nebnet node as a program. It prints its full addresses, shows
// what its peers send, and takes commands on standard input.
//
//	go run ./examples/node -listen /ip4/127.0.0.1/tcp/7001 -subscribe chat
//	go run ./examples/node -listen /ip4/127.0.0.1/tcp/7002 -subscribe chat -bootstrap ADDRESS
//
// Type "help" for the commands. It runs until "quit", an interrupt or SIGTERM; the
// end of input is no reason to end, so that it can be a service. The exit status is
// 0 then, 1 when the node could not start or stop, and 2 for wrong flags.
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

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// settings is what the flags say.
type settings struct {
	cfg       netservice.Config
	subscribe []string
	types     []netservice.MessageSpec // those with a topic of their own
	logLevel  logrus.Level
	json      bool
	http      string // where to serve the page, empty for nowhere
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func parseFlags(args []string, stderr io.Writer) (settings, error) {
	var s settings
	var logLevel string
	var topics, open list
	fs := flag.NewFlagSet("node", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Var((*list)(&s.cfg.Listen), "listen", "multiaddr to listen on, repeatable (default /ip4/127.0.0.1/tcp/0 and /ip4/127.0.0.1/udp/0/quic-v1)")
	fs.Var((*list)(&s.cfg.Bootstrap), "bootstrap", "full multiaddr of a node to connect to, repeatable")
	fs.Var((*list)(&s.cfg.Static), "static", "full multiaddr of a peer to keep connected, repeatable")
	fs.Var((*list)(&s.cfg.Reserved), "reserved", "full multiaddr of a peer to keep connected above -max-peers, repeatable")
	fs.IntVar(&s.cfg.MaxPeers, "max-peers", 0, "the most peers (default 50)")
	fs.StringVar(&s.cfg.ASNFile, "asn-file", "", "table of the autonomous systems of addresses, NETWORK NUMBER on each line")
	fs.BoolVar(&s.cfg.Discovery.MDNS, "mdns", false, "find nodes of the chain on the local network")
	fs.BoolVar(&s.cfg.Discovery.Kademlia, "kad", false, "find nodes by the chain's own hash table")
	fs.StringVar(&s.cfg.ChainID, "chain-id", "example", "chain ID")
	fs.StringVar(&s.cfg.Genesis, "genesis", "", "genesis hash in hex")
	fs.StringVar(&s.cfg.DataDir, "datadir", "", "folder of the key file and the address book (default: a new identity at every start)")
	fs.BoolVar(&s.cfg.InsecureKey, "insecure-key", false, "take a key file that others may read or write, or that is a symbolic link")
	fs.StringVar(&s.cfg.PSKFile, "psk", "", "private network key file")
	fs.StringVar(&logLevel, "log-level", "warn", "debug, info, warn or error")
	fs.Var((*list)(&s.subscribe), "subscribe", "message type to show, repeatable")
	fs.Var(&topics, "topic", "TYPE=NAME: broadcast TYPE on the GossipSub topic NAME of another network, repeatable")
	fs.Var(&open, "open-topic", "TYPE whose broadcasts are for nodes without a handshake too, repeatable")
	fs.BoolVar(&s.cfg.SignMessages, "sign", false, "sign broadcasts, and take signed ones only")
	fs.StringVar(&s.http, "http", "", "HOST:PORT at which to serve the node's page, and /metrics for Prometheus (default: nowhere)")
	fs.BoolVar(&s.json, "json", false, "print events as JSON, one a line")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	var err error
	if fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	} else if s.types, err = topicSpecs(topics, open); err != nil {
		// said below
	} else if s.logLevel, err = logrus.ParseLevel(logLevel); err != nil {
		err = fmt.Errorf("-log-level: %w", err)
	} else {
		if len(s.cfg.Listen) == 0 {
			s.cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
			if s.cfg.PSKFile == "" {
				s.cfg.Listen = append(s.cfg.Listen, "/ip4/127.0.0.1/udp/0/quic-v1")
			}
		}
		err = s.cfg.Validate()
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		fs.Usage()
	}
	return s, err
}

// topicSpecs declares the types that -topic and -open-topic name.
func topicSpecs(topics, open []string) ([]netservice.MessageSpec, error) {
	gossip := make(map[string]netservice.GossipSpec)
	for _, t := range topics {
		name, topic, ok := strings.Cut(t, "=")
		if !ok || name == "" || topic == "" {
			return nil, fmt.Errorf("-topic %q: want TYPE=NAME", t)
		}
		gossip[name] = netservice.GossipSpec{Topic: topic}
	}
	for _, name := range open {
		g := gossip[name]
		g.Open = true
		gossip[name] = g
	}
	var specs []netservice.MessageSpec
	for name, g := range gossip {
		spec := netservice.MessageSpec{Name: name, Gossip: g}
		if g.Topic != "" || g.Open { // others take no more from a stranger
			spec.MaxSize = maxText
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	log := logrus.New()
	log.SetOutput(stderr)
	log.SetLevel(s.logLevel)

	svc, err := netservice.NewNebService(s.cfg, netservice.WithLogger(log))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for _, spec := range s.types {
		if err := svc.Declare(spec); err != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
	}
	out := &printer{w: stdout, json: s.json}
	for _, t := range s.subscribe {
		show := dispatcher.NewHandler("show", t, func(_ context.Context, m dispatcher.Message) { out.message(m) },
			dispatcher.WithPolicy(dispatcher.Lossless)) // what is not shown would be lost in silence
		if err := svc.Register(show); err != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
	}
	peers := svc.SubscribePeers(netservice.PeerConnected, netservice.PeerDisconnected,
		netservice.PeerBanned, netservice.PeerRefused, netservice.PeerCrowded)
	defer peers.Close()
	if s.http != "" {
		url, stop, err := serveHTTP(s.http, svc)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		defer stop()
		out.event("page", map[string]any{"url": url}, "page at "+url)
	}
	if err := svc.Start(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	out.listening(svc.Node())

	lines := readLines(stdin, func() { out.failed(fmt.Errorf("the line is longer than %d bytes", maxLine)) })
	look, lost := time.NewTicker(time.Second), uint64(0)
	defer look.Stop()
	for code := -1; code < 0; {
		select {
		case <-look.C:
			if now := missed(svc.Stats()); now > lost {
				out.lost(now - lost)
				lost = now
			}
		case <-ctx.Done():
			code = 0
		case e := <-peers.Events():
			out.peer(e)
		case line, ok := <-lines:
			switch {
			case !ok:
				lines = nil
			case !execute(ctx, svc, out, line):
				code = 0
			}
		}
	}
	if err := svc.Stop(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// missed is how many messages of others came to this node and will not be shown.
func missed(s netservice.Stats) uint64 {
	n := s.Dispatcher.Total.DroppedTotal()
	for _, t := range s.Gossip.Types {
		n += uint64(t.Forgotten)
	}
	return n
}

// readLines hands over the lines of r. Its goroutine ends with the program: a
// read of a terminal cannot be interrupted.
func readLines(r io.Reader, tooLong func()) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scan(r, func(line string) { lines <- line }, tooLong)
	}()
	return lines
}
