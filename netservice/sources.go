package netservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"

	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// PeerSource finds peers in a way of the program's own, such as a registry of its
// chain.
type PeerSource interface {
	// Name tells the source apart in logs and counts.
	Name() string
	// Find looks for about want peers and hands each to found, as a full multiaddr
	// (…/p2p/ID); those that are none are dropped. It is called while peers are
	// wanted, again after a while, less and less often when nothing new comes, and
	// must end with ctx.
	Find(ctx context.Context, want int, found func(addr string)) error
}

// WithPeerSource adds a source of peers. What it finds is dialled like what any
// other source finds: as there is place, with the limits for each neighbourhood.
func WithPeerSource(src PeerSource) Option {
	return func(o *options) {
		if src != nil {
			o.sources = append(o.sources, src)
		}
	}
}

// applicationSource is a PeerSource as package discovery has it.
type applicationSource struct{ PeerSource }

func (a applicationSource) Find(ctx context.Context, want int, found func(peer.AddrInfo)) error {
	return a.PeerSource.Find(ctx, want, func(text string) {
		if ai, err := peer.AddrInfoFromString(text); err == nil {
			found(*ai)
		}
	})
}

// sourceSet runs the sources of peers that are switched on.
type sourceSet struct {
	mu      sync.Mutex // guards what follows
	ctx     context.Context
	cancel  context.CancelFunc
	running map[string]*runningSource
	closed  bool
}

type runningSource struct {
	key  string // the settings it was started with
	stop func(context.Context) error
}

func newSourceSet() *sourceSet {
	s := &sourceSet{running: make(map[string]*runningSource)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// sourceTimeout is how long a change of configuration waits for a source to end.
const sourceTimeout = 5 * time.Second

// follow starts and stops sources as a configuration says. What is wanted is known
// by its settings: a source that runs with the same ones is left alone.
func (s *sourceSet) follow(n *Node, cfg Config, p parsed) (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	wanted := n.wantedSources(cfg, p)
	for name, r := range s.running {
		if w, ok := wanted[name]; !ok || w.key != r.key {
			ctx, cancel := context.WithTimeout(context.Background(), sourceTimeout)
			errs = append(errs, ofSource(name, r.stop(ctx)))
			cancel()
			delete(s.running, name)
		}
	}
	for name, w := range wanted {
		if s.running[name] != nil {
			continue
		}
		stop, err := w.start(s.ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.running[name] = &runningSource{w.key, stop}
	}
	return errs
}

// close ends all sources at once and waits for them.
func (s *sourceSet) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cancel()
	errs := make(chan error, len(s.running))
	for name, r := range s.running {
		go func() { errs <- ofSource(name, r.stop(ctx)) }()
	}
	var all []error
	for range s.running {
		all = append(all, <-errs)
	}
	clear(s.running)
	return errors.Join(all...)
}

// ofSource is the error with which a source ended.
func ofSource(source string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", source, err)
}

// wantedSource is a source that should run.
type wantedSource struct {
	key   string
	start func(ctx context.Context) (stop func(context.Context) error, err error)
}

func (n *Node) wantedSources(cfg Config, p parsed) map[string]wantedSource {
	out := make(map[string]wantedSource)
	for _, a := range p.names {
		out["dns "+a.String()] = n.polled(discovery.NewDNS(a, n.resolver(), n.whoIsAt), book.FromDNS, "")
	}
	if cfg.Discovery.MDNS {
		out["lan"] = n.localSource()
	}
	if cfg.Discovery.Kademlia || cfg.Discovery.KademliaPrefix != "" {
		out["kademlia"] = n.kademliaSource(cfg.Discovery, p.kademliaPeers)
	}
	for _, src := range n.opts.sources {
		out["application "+src.Name()] = n.polled(applicationSource{src}, book.FromApplication, "")
	}
	return out
}

// polled is a source that is asked while peers are wanted.
func (n *Node) polled(src discovery.Source, from book.Source, key string) wantedSource {
	return wantedSource{key: key, start: func(context.Context) (func(context.Context) error, error) {
		p := discovery.NewPoller(src, discovery.PollerConfig{
			Obs: n.obs, Want: n.peers.Wanted, Rand: n.opts.random.For(src.Name()),
			Found: func(ai peer.AddrInfo) bool {
				v := n.peers.Learn(book.Told{Peer: ai, Source: from})
				return v == book.Added || v == book.Updated
			},
		})
		p.Start()
		return p.Close, nil
	}}
}

// askTimeout bounds one look at who is at an address.
const askTimeout = 10 * time.Second

// whoIsAt dials an address as that of a peer that does not exist. The answer is that
// another one is there, which has proven its ID by then.
func (n *Node) whoIsAt(ctx context.Context, at ma.Multiaddr) (peer.ID, error) {
	key, err := identity.Ephemeral()
	if err != nil {
		return "", err
	}
	nobody, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = n.host.Connect(ctx, peer.AddrInfo{ID: nobody, Addrs: []ma.Multiaddr{at}})
	n.host.Peerstore().ClearAddrs(nobody)
	n.host.Peerstore().RemovePeer(nobody)
	if other, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return other.Actual, nil
	}
	if failed, ok := errors.AsType[*swarm.DialError](err); ok {
		for _, e := range failed.DialErrors {
			if other, ok := errors.AsType[sec.ErrPeerIDMismatch](e.Cause); ok {
				return other.Actual, nil
			}
		}
	}
	return "", fmt.Errorf("nobody answers: %w", err)
}

// resolver looks up names. The host has one of its own for the addresses it dials.
func (n *Node) resolver() *madns.Resolver { return n.opts.dns }
