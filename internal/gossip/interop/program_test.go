package interop

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// programSizes are those of the messages that go to and from the program.
var programSizes = append(slices.Clone(sizes), 1<<20)

// letters is the payload of that size and salt as text, which the program can
// take as a command and print.
func letters(size, salt int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = 'a' + byte((i*7+salt)%26)
	}
	return string(b)
}

func build(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "node")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/go-nebnet/nebnet/examples/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// startNode starts the program on the topic of others, and has it dial boot if
// that is given.
func startNode(t *testing.T, program string, id gossip.Identity, boot string) *jsPeer {
	t.Helper()
	args := []string{
		"-json", "-log-level", "error", "-listen", "/ip4/127.0.0.1/tcp/0",
		"-topic", "foreign=" + topic, "-open-topic", "foreign", "-subscribe", "foreign",
	}
	if id == gossip.Signed {
		args = append(args, "-sign")
	}
	if boot != "" {
		args = append(args, "-bootstrap", boot)
	}
	p := startPeer(t, "examples/node", program, args...)
	p.LastWords = "quit"
	return p
}

// TestPlainPubSubProgram has plain go-libp2p-pubsub talk with the program of
// examples/node, as a foreigner on an open topic.
func TestPlainPubSubProgram(t *testing.T) {
	program := build(t)
	for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
		for _, dials := range []string{"plain", "program"} {
			t.Run(identityName(id)+"/"+dials+" dials", func(t *testing.T) {
				t.Parallel() // a foreigner waits for ten seconds first
				h, top, got := plain(t, id, nil, pubsub.WithMaxMessageSize(1<<20+1<<10))
				var boot string
				if dials == "program" {
					boot = testkit.FullAddr(t, h)
				}
				node := startNode(t, program, id, boot)
				if dials == "plain" {
					info, err := peer.AddrInfoFromString(node.addr)
					if err != nil {
						t.Fatal(err)
					}
					if err := h.Connect(t.Context(), *info); err != nil {
						t.Fatal(err)
					}
				}
				for i, size := range programSizes {
					// Unsigned, the empty message is the same one from both.
					once := size == 0 && id == gossip.Unsigned
					if !once || dials == "plain" {
						// Without a mesh go-libp2p-pubsub publishes to nobody.
						meshed := pubsub.WithReadiness(pubsub.MinTopicSize(1))
						if err := top.Publish(t.Context(), []byte(letters(size, 100+i)), meshed); err != nil {
							t.Fatal(err)
						}
						node.wantText(letters(size, 100+i))
					}
					if !once || dials == "program" {
						node.broadcast(letters(size, i))
						want(t, "plain", got, []byte(letters(size, i)))
					}
				}
			})
		}
	}
}

func (p *jsPeer) broadcast(text string) {
	p.t.Helper()
	p.Say("broadcast foreign " + text)
	p.await("broadcast")
}

func (p *jsPeer) wantText(text string) {
	p.t.Helper()
	if got := p.await("message").Text; got != text {
		p.t.Fatalf("%s got %d bytes, want %d", p.name, len(got), len(text))
	}
}

// TestJSProgram has js-libp2p talk with the program of examples/node, as a
// foreigner on an open topic.
func TestJSProgram(t *testing.T) {
	needJS(t)
	program := build(t)
	for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
		for _, jsDials := range []bool{true, false} {
			name := identityName(id) + "/program dials"
			if jsDials {
				name = identityName(id) + "/js dials"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel() // a foreigner waits for ten seconds first
				testJSProgram(t, program, id, jsDials)
			})
		}
	}
}

func testJSProgram(t *testing.T, program string, id gossip.Identity, jsDials bool) {
	js := startJS(t, id)
	var boot string
	if !jsDials {
		boot = js.addr
	}
	node := startNode(t, program, id, boot)
	if jsDials {
		js.do(jsCommand{Do: "dial", Addr: node.addr})
		js.await("dialled")
	}
	js.await("mesh")
	for i, size := range programSizes {
		// Unsigned, the empty message is the same one from both.
		once := size == 0 && id == gossip.Unsigned
		if !once || !jsDials {
			data := letters(size, i)
			node.broadcast(data)
			js.want([]byte(data))
		}
		if once && !jsDials {
			continue
		}
		js.do(jsCommand{Do: "publish", Size: size, Salt: 100 + i, Letters: true})
		if n := js.await("published").Peers; n != 1 {
			t.Fatalf("js-libp2p published to %d peers", n)
		}
		node.wantText(letters(size, 100+i))
	}
}
