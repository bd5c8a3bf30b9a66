package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// jsEnv switches the tests on that need Node.js.
const jsEnv = "NEBNET_JS"

// jsPeer is a process that prints events and takes commands: js-libp2p, or the
// program of examples/node.
type jsPeer struct {
	*testkit.Process
	t     *testing.T
	name  string
	early []jsEvent // events that came while another was waited for
	addr  string
}

type jsCommand struct {
	Do   string `json:"do"`
	Addr string `json:"addr,omitempty"`
	Size int    `json:"size"`
	Salt int    `json:"salt"`
	// Letters makes the payload text.
	Letters bool `json:"letters,omitempty"`
}

type jsEvent struct {
	Event, Addr, Peer, Text, Error, SHA256 string
	Size, Peers                            int
	Score                                  float64
}

func needJS(t *testing.T) {
	t.Helper()
	if os.Getenv(jsEnv) == "" {
		t.Skipf("needs Node.js: set %s=1 after (cd internal/gossip/interop/js && npm ci --ignore-scripts --no-audit --no-fund)", jsEnv)
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules", "libp2p")); err != nil {
		t.Fatalf("packages missing: run npm ci in internal/gossip/interop/js: %v", err)
	}
}

func startJS(t *testing.T, id gossip.Identity) *jsPeer {
	t.Helper()
	return startNamedJS(t, identityName(id))
}

func startNamedJS(t *testing.T, identity string) *jsPeer {
	t.Helper()
	return startPeer(t, "js-libp2p", "node", filepath.Join("js", "peer.mjs"), topic, identity)
}

// startPeer runs a program, and waits for its address.
func startPeer(t *testing.T, name, program string, args ...string) *jsPeer {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	p := &jsPeer{t: t, name: name, Process: testkit.Start(t, cmd)}
	p.addr = p.await("listening").Addr
	return p
}

func (p *jsPeer) do(c jsCommand) {
	p.t.Helper()
	if err := json.NewEncoder(p.Input()).Encode(c); err != nil {
		p.t.Fatal(err)
	}
}

// await waits for an event of a kind; others are kept for later.
func (p *jsPeer) await(kind string) jsEvent {
	p.t.Helper()
	for i, e := range p.early {
		if e.Event == kind {
			p.early = append(p.early[:i], p.early[i+1:]...)
			return e
		}
	}
	for {
		var e jsEvent
		line := p.Stdout.Find(p.t, p.name+", for "+kind) // any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.t.Fatalf("%s said %q", p.name, line)
		}
		switch e.Event {
		case "error":
			p.t.Fatalf("%s: %s%s", p.name, e.Text, e.Error)
		case kind:
			return e
		}
		p.early = append(p.early, e)
	}
}

func (p *jsPeer) want(data []byte) {
	p.t.Helper()
	e := p.await("message")
	if sum := sha256.Sum256(data); e.Size != len(data) || e.SHA256 != hex.EncodeToString(sum[:]) {
		p.t.Fatalf("js-libp2p got %d bytes, want %d", e.Size, len(data))
	}
}

func TestJS(t *testing.T) {
	needJS(t)
	for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
		for _, jsDials := range []bool{true, false} {
			name := identityName(id) + "/we dial"
			if jsDials {
				name = identityName(id) + "/js dials"
			}
			t.Run(name, func(t *testing.T) { testJS(t, id, jsDials) })
		}
	}
}

func testJS(t *testing.T, id gossip.Identity, jsDials bool) {
	js := startJS(t, id)
	// js-libp2p takes larger frames than others, and so may the engine here: the
	// last payload is 1 MiB exactly.
	h, e, got := engine(t, id, 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if jsDials {
		js.do(jsCommand{Do: "dial", Addr: testkit.FullAddr(t, h)})
		js.await("dialled")
	} else {
		info, err := peer.AddrInfoFromString(js.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Connect(ctx, *info); err != nil {
			t.Fatal(err)
		}
	}
	js.await("mesh")
	for i, size := range append(sizes, 1<<20) {
		data := payload(size, byte(i))
		if err := e.Publish(ctx, "foreign", data); err != nil {
			t.Fatal(err)
		}
		js.want(data)
		salt := 100 + i
		if size == 0 {
			size = 2 // an empty unsigned message would be the duplicate of ours
		}
		js.do(jsCommand{Do: "publish", Size: size, Salt: salt})
		if n := js.await("published").Peers; n != 1 {
			t.Fatalf("js-libp2p published to %d peers", n)
		}
		want(t, "from js-libp2p", got, payload(size, byte(salt)))
	}
	var empty bool
	if id == gossip.Signed {
		empty = true
		js.do(jsCommand{Do: "publish"})
		want(t, "from js-libp2p", got, nil)
	}
	s := e.Stats().Types["foreign"]
	if wantN := int64(len(sizes) + 1); s.Published != wantN || s.Delivered < wantN || s.Rejected > 0 {
		t.Errorf("empty %v: %+v", empty, s)
	}
}

// A js-libp2p peer without a session that names messages otherwise is brought as much as
// go-libp2p-pubsub brings it, keeps this node in its mesh, and thinks no less of it.
func TestJSWithOtherNames(t *testing.T) {
	needJS(t)
	const before, after = 36, 200
	for _, impl := range []string{"go-libp2p-pubsub", "ours"} {
		t.Run(impl, func(t *testing.T) {
			js := startNamedJS(t, "other-names")
			var h host.Host
			var publish func(data []byte) error
			if impl == "ours" {
				var e *gossip.Engine
				h, e = foreignEngine(t)
				publish = func(data []byte) error { return e.Publish(t.Context(), "foreign", data) }
			} else {
				var top *pubsub.Topic
				h, top, _ = plain(t, gossip.Unsigned, nil)
				publish = func(data []byte) error { return top.Publish(t.Context(), data) }
			}
			js.do(jsCommand{Do: "dial", Addr: testkit.FullAddr(t, h)})
			js.await("dialled")
			for i := range before {
				if err := publish(payload(100+i, 1)); err != nil {
					t.Fatal(err)
				}
			}
			js.await("mesh")
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for i := range after {
				<-tick.C
				if err := publish(payload(1000+i, 2)); err != nil {
					t.Fatal(err)
				}
			}
			const last = 5000
			if err := publish(payload(last, 3)); err != nil {
				t.Fatal(err)
			}
			got, early, pruned := 0, 0, 0
			for size := 0; size != last; {
				switch size = js.await("message").Size; {
				case size >= 1000 && size < last:
					got++
				case size < 1000:
					early++
				}
			}
			js.do(jsCommand{Do: "score"})
			score := js.await("score").Score
			for _, e := range js.early {
				if e.Event == "pruned" {
					pruned++
				}
			}
			t.Logf("%d of %d arrived, and %d of %d from before the mesh; pruned %d times, score %v", got, after, early, before, pruned, score)
			if impl == "ours" && (got != after || pruned > 0 || score < 0) {
				t.Error("less than go-libp2p-pubsub brings")
			}
		})
	}
}

// foreignEngine is an engine to which everybody is a foreigner.
func foreignEngine(t *testing.T) (host.Host, *gossip.Engine) {
	t.Helper()
	h := testkit.Host(t)
	return h, joined(t, gossip.Config{
		Host: h, Network: network, Member: func(peer.ID) bool { return false }, ForeignAfter: 100 * time.Millisecond,
		Deliver: func(context.Context, gossip.Message, bool) error { return nil },
	})
}
