// Command tunnel carries a TCP service from one machine to another over libp2p.
//
// Where the service is:
//
//	tunnel listen -proto /x/web -target 127.0.0.1:8080
//
// Where it is wanted, with an address that the first one prints:
//
//	tunnel dial -proto /x/web -peer MULTIADDR -bind 127.0.0.1:9090
//
// Signal USR1, or -status 10s, prints what is running. TERM and INT end the
// program. With GOLOG_LOG_LEVEL=error in the environment, go-libp2p logs too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/gologshim"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/p2p"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

const usage = `usage: tunnel listen -proto NAME -target ADDRESS [flags]
       tunnel dial   -proto NAME -peer MULTIADDR -bind ADDRESS [flags]

ADDRESS is host:port, :port for 127.0.0.1, unix:/path or a multiaddr. See
tunnel listen -h and tunnel dial -h for all flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOLOG_LOG_LEVEL") == "" { // go-libp2p would repeat in its own words some of what run says
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "listen", "dial":
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprintf(stderr, "tunnel: unknown command %q; see tunnel -h\n", args[0])
		return exitUsage
	}
	c, err := parse(args[0], args[1:], stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "tunnel %s: %s; see tunnel %s -h\n", args[0], oneLine(err), args[0])
		return exitUsage
	}
	if err := c.run(ctx, stdout, stderr); err != nil && ctx.Err() == nil {
		fmt.Fprintf(stderr, "tunnel %s: %s\n", args[0], oneLine(err))
		return exitFailure
	}
	return 0
}

// oneLine is an error for a terminal. Those of dialling have a line for each
// address.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// command is what the flags say.
type command struct {
	name   string
	proto  string
	addr   ma.Multiaddr // target, or where to bind
	peer   peer.AddrInfo
	admit  []peer.ID
	listen []ma.Multiaddr
	key    string
	status time.Duration
	max    int
	idle   time.Duration
	report p2p.PeerReport
	quiet  bool
}

// parse reads the flags. Asked for help, it prints to stdout and returns
// flag.ErrHelp.
func parse(name string, args []string, stdout io.Writer) (*command, error) {
	c := &command{name: name}
	var addr, to, listen, report string
	fs := flag.NewFlagSet("tunnel "+name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the error says it in one line
	fs.StringVar(&c.proto, "proto", "", "protocol `name`, such as /x/web (required)")
	fs.StringVar(&c.key, "key", "", "`file` with this peer's key, made if it does not exist (default: a new key each time)")
	fs.DurationVar(&c.status, "status", 0, "print a table of what is running each `interval`, such as 10s")
	fs.BoolVar(&c.quiet, "quiet", false, "log errors only")
	fs.DurationVar(&c.idle, "idle", 0, "end connections on which nothing moves for this `time`, such as 10m")
	if name == "listen" {
		fs.StringVar(&addr, "target", "", "`address` of the service (required)")
		fs.StringVar(&listen, "listen", "/ip4/0.0.0.0/tcp/0,/ip4/0.0.0.0/udp/0/quic-v1", "`multiaddrs` to be reached at, comma-separated")
		fs.Func("admit", "`IDs` of the peers that may connect, comma-separated (default: all)", c.parseAdmit)
		fs.IntVar(&c.max, "max", 0, "most connections of one peer at a time (default 1024)")
		fs.StringVar(&report, "report", "", "`how` to tell the service who connects: peer-id or proxy-v2 (default: not at all)")
	} else {
		fs.StringVar(&to, "peer", "", "`multiaddr` of the peer, as tunnel listen prints it (required)")
		fs.StringVar(&addr, "bind", "127.0.0.1:0", "local `address` to listen on")
		listen = ""
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stdout)
			fs.Usage()
		}
		return nil, err
	}
	where := "-target"
	if name == "dial" {
		where = "-bind"
	}
	fail := func(format string, a ...any) (*command, error) { return nil, fmt.Errorf(format, a...) }
	var err error
	switch {
	case fs.NArg() > 0:
		return fail("unexpected argument %q", fs.Arg(0))
	case c.proto == "":
		return fail("-proto is required")
	case addr == "":
		return fail("%s is required", where)
	case name == "dial" && to == "":
		return fail("-peer is required")
	case name == "listen" && len(split(listen)) == 0:
		return fail("-listen is empty: no peer could reach the service")
	case c.status < 0:
		return fail("-status is negative")
	case c.idle < 0:
		return fail("-idle is negative")
	case c.max < 0:
		return fail("-max is negative")
	}
	if c.addr, err = parseAddress(addr); err != nil {
		return fail("%s: %q: %v", where, addr, err)
	}
	if c.report, err = parseReport(report); err != nil {
		return fail("-report: %v", err)
	}
	if name == "dial" {
		if c.peer, err = parsePeer(to); err != nil {
			return fail("-peer: %v", err)
		}
	}
	for _, l := range split(listen) {
		a, err := ma.NewMultiaddr(l)
		if err != nil {
			return fail("-listen: %q: %v", l, err)
		}
		c.listen = append(c.listen, a)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// parsePeer reads an address that ends in a peer ID, or /dnsaddr/host, which leads to
// one.
func parsePeer(s string) (peer.AddrInfo, error) {
	if a, err := ma.NewMultiaddr(s); err == nil && len(a) == 1 && a[0].Code() == ma.P_DNSADDR {
		return peer.AddrInfo{Addrs: []ma.Multiaddr{a}}, nil
	}
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("%s has no address", s)
	}
	return *info, nil
}

// validate says what is wrong with the name and the address before anything is
// started, and names the flag.
func (c *command) validate() error {
	t := p2p.Tunnel{Protocol: c.proto, Target: c.addr.String()}
	if c.name == "dial" {
		t = p2p.Tunnel{Protocol: c.proto, Bind: c.addr.String(), Peer: c.peer.ID.String()}
		if c.peer.ID == "" {
			t.Peer = c.peer.Addrs[0].String()
		}
	}
	err := t.Validate()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, p2p.ErrProtocolName):
		return fmt.Errorf("-proto: %w", err)
	}
	return fmt.Errorf("-%w", err) // it begins with bind or target
}

// parseAdmit reads the IDs, of which there must be one: none would mean all
// peers.
func (c *command) parseAdmit(list string) error {
	for id := range strings.SplitSeq(list, ",") {
		p, err := peer.Decode(strings.TrimSpace(id))
		if err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
		c.admit = append(c.admit, p)
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func (c *command) run(ctx context.Context, stdout, stderr io.Writer) error {
	asked, stop := statusRequests() // whoever has read the address may ask
	defer stop()
	h, err := newHost(c.key, c.listen)
	if err != nil {
		return err
	}
	defer h.Close()
	log := logrus.New()
	log.SetOutput(stderr)
	if c.quiet {
		log.SetLevel(logrus.ErrorLevel)
	}
	opts := []p2p.Option{p2p.WithLogger(log)}
	if c.idle > 0 {
		opts = append(opts, p2p.WithIdleTimeout(c.idle))
	}
	tunnels := p2p.NewP2P(h.ID(), h, h.Peerstore(), opts...)
	defer tunnels.Close()
	if c.name == "listen" {
		err = c.serve(ctx, tunnels, h, stdout)
	} else {
		err = c.forward(ctx, tunnels, stdout)
	}
	if err != nil {
		return err
	}
	watch(ctx, tunnels, asked, c.status, stderr)
	return nil
}

func (c *command) serve(ctx context.Context, tunnels *p2p.P2P, h host.Host, stdout io.Writer) error {
	opts := []p2p.Option{p2p.WithPeerReport(c.report)}
	if len(c.admit) > 0 {
		opts = append(opts, p2p.WithAdmit(c.admit...))
	}
	if c.max > 0 {
		opts = append(opts, p2p.WithMaxStreamsPerPeer(c.max))
	}
	if _, err := tunnels.NewListener(ctx, c.proto, c.addr, opts...); err != nil {
		return err
	}
	for _, a := range h.Addrs() {
		fmt.Fprintf(stdout, "%s/p2p/%s\n", a, h.ID())
	}
	return nil
}

func (c *command) forward(ctx context.Context, tunnels *p2p.P2P, stdout io.Writer) error {
	l, err := tunnels.Dial(ctx, c.peer.Addrs[0], c.peer.ID, c.proto, c.addr, p2p.WithCheck())
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\n", l.Listen)
	return nil
}
