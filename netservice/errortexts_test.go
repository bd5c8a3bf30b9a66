package netservice_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
	"github.com/go-nebnet/nebnet/p2p"
)

// failure is an error as a program gets it, and what has to be true of it.
type failure struct {
	name  string
	err   error
	is    []error  // errors.Is
	names []string // what the text must have: type, peer, limit, setting
}

func (f failure) check(t *testing.T) {
	t.Helper()
	if f.err == nil {
		t.Errorf("%s: no error", f.name)
		return
	}
	text := f.err.Error()
	t.Logf("%s: %s", f.name, text)
	for _, target := range f.is {
		if !errors.Is(f.err, target) {
			t.Errorf("%s: %q is not %q", f.name, text, target)
		}
	}
	for _, name := range f.names {
		if !strings.Contains(text, name) {
			t.Errorf("%s: %q does not name %q", f.name, text, name)
		}
	}
	said := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		clear(said)
		for phrase := range strings.SplitSeq(line, ": ") {
			if said[phrase] {
				t.Errorf("%s: %q says %q twice", f.name, text, phrase)
			}
			said[phrase] = true
		}
	}
	if prefixed.MatchString(text) {
		t.Errorf("%s: %q names a package", f.name, text)
	}
	if errors.Is(f.err, context.DeadlineExceeded) {
		if ne, ok := errors.AsType[net.Error](f.err); !ok || !ne.Timeout() {
			t.Errorf("%s: %q is no timeout of net.Error", f.name, text)
		}
	}
}

// prefixed is a package of ours as a prefix.
var prefixed = regexp.MustCompile(`(^|: |\n)(netservice|dispatcher|session|gossip|swarm|reqresp|peers|p2phost|obs|msgtype|pacing|router|sched|wire|engine)(:| )`)

// What programs get of a service that is not running.
func TestErrorsOfLifeCycle(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		s := nw.Add(chain(), quiet()).Service()
		for _, f := range everyCall(t, s) {
			f.is = []error{netservice.ErrNotStarted, dispatcher.ErrNotStarted}
			f.check(t)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		failure{"start twice", s.Start(), []error{netservice.ErrAlreadyStarted, dispatcher.ErrStarted}, []string{"already started"}}.check(t)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		closed := []error{netservice.ErrStopped, dispatcher.ErrClosed, net.ErrClosed}
		for _, f := range append(everyCall(t, s),
			failure{name: "start", err: s.Start()},
			failure{name: "register", err: s.Register(dispatcher.NewSubscription("x", "text"))},
			failure{name: "static", err: s.AddStaticPeer("/ip4/8.8.8.8/tcp/4001/p2p/" + stranger.String())},
			failure{name: "reserve", err: s.ReservePeer("/ip4/8.8.8.8/tcp/4001/p2p/" + stranger.String())},
		) {
			f.is = closed
			f.check(t)
		}
	})
}

var (
	stranger = func() peer.ID {
		p, _ := peer.Decode("12D3KooWGRUjCoYV7TU9zN6Z7T5ebwLRqp3qPuYtQjmE5rWJ2Jx1")
		return p
	}()
	repeat = netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw(), netservice.MaxRequest(100))
)

// everyCall is every call that needs a service that runs.
func everyCall(t *testing.T, s *netservice.NebService) []failure {
	ctx := t.Context()
	_, toMany := s.SendMessageToPeers(ctx, "text", nil, nil)
	_, typedToMany := text.SendTo(ctx, s, nil, nil)
	_, stream := s.NewStream(ctx, stranger, "/x/1")
	_, call := repeat.Call(ctx, s, stranger, nil)
	return []failure{
		{name: "send", err: s.SendMessageToPeer(ctx, "text", nil, stranger.String())},
		{name: "typed send", err: text.Send(ctx, s, stranger, nil)},
		{name: "send to many", err: toMany},
		{name: "typed send to many", err: typedToMany},
		{name: "broadcast", err: s.Broadcast(ctx, "text", nil)},
		{name: "relay", err: s.Relay(ctx, dispatcher.NewMessage("text", "", nil))},
		{name: "put", err: s.PutMessage(dispatcher.NewMessage("text", "", nil))},
		{name: "typed put", err: text.Put(s, nil)},
		{name: "wait", err: s.WaitForPeers(ctx, 1)},
		{name: "connect", err: s.ConnectPeer(ctx, "/ip4/8.8.8.8/tcp/1/p2p/"+stranger.String())},
		{name: "close peer", err: s.ClosePeer(stranger.String(), nil)},
		{name: "stream", err: stream},
		{name: "call", err: call},
	}
}

// What programs get of peers, types and limits.
func TestErrorsOfSending(t *testing.T) {
	small := netservice.MessageSpec{Name: "small", MaxSize: 10}
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.PeerQueueBytes = 64 << 10
		a := nw.Add(cfg, quiet())
		b := nw.Add(booted(a), quiet())
		s, id := a.Service(), b.ID().String()
		if err := errors.Join(s.Declare(small), s.Declare(netservice.MessageSpec{Name: "direct", NoBroadcast: true}),
			b.Service().Declare(netservice.MessageSpec{Name: "asym", MaxSize: 10})); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		register(t, b.Service(), dispatcher.NewHandler("slow", "text", func(ctx context.Context, _ dispatcher.Message) { <-release }, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)))
		register(t, b.Service(), dispatcher.NewSubscription("x", "asym"))
		register(t, s, dispatcher.NewHandler("slow", "own", func(ctx context.Context, _ dispatcher.Message) { <-release }, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)))
		defer close(release)
		if err := s.Register(); err != nil {
			t.Fatal(err)
		}
		_, err := repeat.Serve(b.Service(), func(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
			switch string(req) {
			case "refuse":
				return nil, netservice.Refuse(netservice.FirstAppCode, "not today")
			case "fail":
				return nil, io.ErrUnexpectedEOF
			}
			<-t.Context().Done()
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		ctx := t.Context()
		send := func(typ string, size int, to string) error {
			return s.SendMessageToPeer(ctx, typ, make([]byte, size), to)
		}
		brief := func(f func(ctx context.Context) error) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return f(ctx)
		}
		call := func(req string) error {
			return brief(func(ctx context.Context) error {
				_, err := repeat.Call(ctx, s, b.ID(), []byte(req))
				return err
			})
		}
		full := func() (err error) {
			for err == nil {
				err = brief(func(ctx context.Context) error {
					return s.SendMessageToPeer(ctx, "text", make([]byte, 30<<10), id)
				})
			}
			return err
		}
		fullMany := func() (err error) {
			for err == nil {
				_, err = s.SendMessageToPeers(ctx, "text", make([]byte, 30<<10), nil)
			}
			return err
		}
		try := func() (err error) {
			for err == nil {
				err = s.Dispatcher().TryPutMessage(dispatcher.NewMessage("own", "", nil))
			}
			return err
		}
		put := func() (err error) {
			for err == nil {
				err = brief(func(ctx context.Context) error {
					return s.Dispatcher().PutMessageContext(ctx, dispatcher.NewMessage("own", "", nil))
				})
			}
			return err
		}
		_, unsupportedMany := s.SendMessageToPeers(ctx, "nobody", nil, nil)
		_, nobody := s.SendMessageToPeers(ctx, "text", nil, func([]netservice.PeerInfo) []netservice.PeerInfo { return nil })
		_, stream := s.NewStream(ctx, b.ID(), "/plain/1")
		_, strangers := s.NewStream(ctx, stranger, "/plain/1")
		_, noSession := repeat.Call(ctx, s, stranger, nil)
		_, large := repeat.Call(ctx, s, b.ID(), make([]byte, 200))
		_, any, noPeers := netservice.DeclareMethod("nobody", netservice.Raw(), netservice.Raw()).Any(ctx, s, nil, netservice.Policy[[]byte]{})
		if any != "" {
			t.Error("an answer of", any)
		}
		if err := s.Broadcast(ctx, "text", []byte("once")); err != nil {
			t.Fatal(err)
		}
		serving := func() error {
			other := netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())
			h := func(context.Context, peer.ID, []byte) ([]byte, error) { return nil, nil }
			_, first := other.Serve(s, h)
			_, second := other.Serve(s, h)
			return errors.Join(first, second)
		}
		for _, f := range []failure{
			{"too large", send("small", 11, id), []error{netservice.ErrTooLarge}, []string{"small", "11 bytes", "MaxSize, 10"}},
			{"too large for the peer", send("asym", 11, id), []error{netservice.ErrTooLarge}, []string{"asym", "11 bytes", "10", id}},
			{"too large for broadcast", s.Broadcast(ctx, "small", make([]byte, 11)), []error{netservice.ErrTooLarge}, []string{"small", "11 bytes", "MaxSize, 10"}},
			{"queue full", full(), []error{netservice.ErrQueueFull, dispatcher.ErrQueueFull, context.DeadlineExceeded}, []string{"text", id, "Config.PeerQueueBytes 65536", "MessageSpec.QueueBytes"}},
			{"queues full", fullMany(), []error{netservice.ErrQueueFull}, []string{"text", "1 peers", "Config.PeerQueueBytes"}},
			{"subscriber full", try(), []error{netservice.ErrQueueFull}, []string{"own", "lossless", "WithQueue"}},
			{"subscriber full for a second", put(), []error{context.DeadlineExceeded}, []string{"own"}},
			{"unsupported", send("nobody", 1, id), []error{netservice.ErrUnsupported}, []string{"nobody", id}},
			{"unsupported by all", unsupportedMany, []error{netservice.ErrUnsupported}, []string{"nobody", "none of 1 peers"}},
			{"nobody chosen", nobody, []error{netservice.ErrNoPeers}, []string{"text"}},
			{"no session", send("text", 1, stranger.String()), []error{netservice.ErrUnknownPeer}, []string{stranger.String()}},
			{"typed, no session", text.Send(ctx, s, stranger, nil), []error{netservice.ErrUnknownPeer}, []string{stranger.String()}},
			{"close, no session", s.ClosePeer("nonsense", nil), []error{netservice.ErrUnknownPeer}, []string{"nonsense"}},
			{"no ID", s.BanPeer("nonsense", 0), nil, []string{"nonsense"}},
			{"no network", s.BanNetwork("1.2.3", 0), nil, []string{"1.2.3"}},
			{"no address", s.ConnectPeer(ctx, "nonsense"), nil, []string{"nonsense"}},
			{"address without ID", s.ReservePeer("/ip4/1.2.3.4/tcp/1"), nil, []string{"/ip4/1.2.3.4/tcp/1"}},
			{"own address", s.AddBootstrapPeer(a.Addr()), nil, []string{a.ID().String()}},
			{"bad name", send("no name", 1, id), []error{dispatcher.ErrInvalidType}, []string{`"no name"`, "1 to 64"}},
			{"bad name of a broadcast", s.Broadcast(ctx, "", nil), []error{dispatcher.ErrInvalidType}, []string{`""`, "1 to 64"}},
			{"bad name of a message", s.PutMessage(dispatcher.NewMessage("no name", "", nil)), []error{dispatcher.ErrInvalidType}, []string{`"no name"`}},
			{"nil message", s.PutMessage(nil), []error{dispatcher.ErrNilMessage}, []string{"nil message"}},
			{"duplicate", s.Broadcast(ctx, "text", []byte("once")), []error{netservice.ErrDuplicate}, []string{"text"}},
			{"no broadcast", s.Broadcast(ctx, "direct", nil), []error{netservice.ErrNoBroadcast}, []string{"direct", "NoBroadcast"}},
			{"conflict", s.Declare(netservice.MessageSpec{Name: "small", MaxSize: 11}), []error{netservice.ErrConflict}, []string{"small", "MaxSize was 10 and is 11"}},
			{"bad declaration", s.Declare(netservice.MessageSpec{Name: "huge", MaxSize: 2<<30 - 1}), nil, []string{"huge", "MaxSize", "1073741824"}},
			{"stream not served", stream, []error{netservice.ErrUnsupported}, []string{"/plain/1", id}},
			{"stream, no session", strangers, []error{netservice.ErrUnknownPeer}, []string{"/plain/1", stranger.String()}},
			{"call, no session", noSession, []error{netservice.ErrUnknownPeer}, []string{"echo", stranger.String()}},
			{"request too large", large, []error{netservice.ErrTooLarge, netservice.CodeTooLarge}, []string{"echo", "200", "100", "MaxRequest"}},
			{"call of nobody", noPeers, []error{netservice.ErrNoPeers}, []string{"nobody"}},
			{"refused call", call("refuse"), []error{netservice.FirstAppCode}, []string{"echo", id, "not today"}},
			{"failed call", call("fail"), []error{netservice.ErrInternal}, []string{"echo", id}},
			{"call without answer", call("wait"), []error{context.DeadlineExceeded}, []string{"echo", id}},
			{"served twice", serving(), []error{netservice.ErrConflict}, []string{"echo"}},
			{"twice registered", s.Register(dispatcher.NewHandler("slow", "own", func(context.Context, dispatcher.Message) {})), []error{dispatcher.ErrDuplicateSubscriber}, []string{"slow", "own"}},
			{"not registered", s.Deregister(dispatcher.NewHandler("slow", "other", func(context.Context, dispatcher.Message) {})), []error{dispatcher.ErrNotRegistered}, []string{"slow", "other"}},
			{"nil subscriber", s.Register(nil), []error{dispatcher.ErrNilSubscriber}, nil},
			{"nil handler", s.Register(dispatcher.NewHandler("h", "own", nil)), []error{dispatcher.ErrNilHandler}, []string{"h", "own"}},
			{"bad option", s.Register(dispatcher.NewSubscription("h", "own", dispatcher.WithQueue(-1))), []error{dispatcher.ErrInvalidOption}, []string{"h", "own", "-1"}},
			{"too few peers", brief(func(ctx context.Context) error { return s.WaitForPeers(ctx, 5) }), []error{context.DeadlineExceeded}, []string{"5 peers", "1"}},
			{"bad limits", s.SetPeerLimits(netservice.PeerLimits{MaxPeers: -1}), nil, []string{"MaxPeers", "-1"}},
		} {
			f.check(t)
		}
		if err := s.BanPeer(b.ID().String(), time.Hour); err != nil {
			t.Fatal(err)
		}
		failure{"banned", s.ConnectPeer(ctx, b.Addr()), []error{netservice.ReasonBanned}, []string{b.ID().String()}}.check(t)
	})
}

// Types that peers cannot be told of.
func TestErrorsOfTooManyTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		s := nw.Add(chain(), quiet()).Service()
		nw.Start()
		var err error
		for i := 0; err == nil && i < 5000; i++ {
			err = s.Declare(netservice.MessageSpec{Name: strings.Repeat("x", 58) + string(rune('a'+i/676%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26)), MaxSize: 10})
		}
		failure{"too many types", err, []error{netservice.ErrTooManyTypes}, []string{"xxx", "4096", "262144"}}.check(t)
	})
}

// Refusals name both sides' values.
func TestErrorsOfHandshakes(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		other, old := chain(), chain()
		other.Genesis = "02"
		old.MinVersion, old.MaxVersion = 7, 7
		b, c := nw.Add(other, quiet()), nw.Add(old, quiet())
		d := nw.Add(chain(), quiet())
		nw.Start()
		d.Crash()
		connect := func(n *nettest.Node) error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return a.Service().ConnectPeer(ctx, n.Addr())
		}
		for _, f := range []failure{
			{"other chain", connect(b), []error{}, []string{b.ID().String()}},
			{"other version", connect(c), []error{netservice.ReasonWrongVersion}, []string{c.ID().String(), "7"}},
			{"gone", connect(d), nil, []string{d.ID().String()}},
			{"itself", connect(a), nil, []string{a.ID().String()}},
		} {
			f.check(t)
		}
	})
}

// Every mistake of a configuration is a *ConfigError with its field.
func TestErrorsOfConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.key"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(c *netservice.Config){
		"ChainID":         func(c *netservice.Config) { c.ChainID = "" },
		"Genesis":         func(c *netservice.Config) { c.Genesis = "xyz" },
		"Listen[0]":       func(c *netservice.Config) { c.Listen = []string{"nonsense"} },
		"Announce[0]":     func(c *netservice.Config) { c.Announce = []string{"/ip4/1.2.3.4/tcp/0"} },
		"Bootstrap[0]":    func(c *netservice.Config) { c.Bootstrap = []string{"/ip4/1.2.3.4/tcp/1"} },
		"Reserved[0]":     func(c *netservice.Config) { c.Reserved = []string{"/ip4/224.0.0.1/tcp/1/p2p/" + stranger.String()} },
		"MaxPeers":        func(c *netservice.Config) { c.MaxPeers = -1 },
		"MaxMessageSize":  func(c *netservice.Config) { c.MaxMessageSize = -1 },
		"PeerQueueBytes":  func(c *netservice.Config) { c.PeerQueueBytes = -1 },
		"ShutdownTimeout": func(c *netservice.Config) { c.ShutdownTimeout = -1 },
		"Tunnels[0]":      func(c *netservice.Config) { c.Tunnels = append(c.Tunnels, p2p.Tunnel{Protocol: "/x/web"}) },
		"GossipProfile":   func(c *netservice.Config) { c.GossipProfile = "best" },
	} {
		c := chain()
		spoil(&c)
		for name, err := range map[string]error{"validate": c.Validate(), "new": must(netservice.NewNebService(c, quiet()))} {
			failure{name + " " + field, err, nil, []string{field}}.check(t)
			if e, ok := errors.AsType[*netservice.ConfigError](err); !ok || !strings.HasPrefix(e.Field, strings.TrimSuffix(field, "[0]")) {
				t.Errorf("%s of %s: %v", name, field, err)
			}
		}
	}
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	failure{"static that cannot be", s.AddStaticPeer("/ip4/1.2.3.4/tcp/0/p2p/" + stranger.String()), nil, []string{"port 0", stranger.String()}}.check(t)
	c := chain()
	c.DataDir = dir
	failure{"key", must(netservice.NewNebService(c, quiet())), []error{netservice.ErrKeyCorrupt}, []string{dir}}.check(t)
}

func must(_ *netservice.NebService, err error) error { return err }
