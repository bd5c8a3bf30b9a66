package interop

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-nebnet/nebnet/internal/gossip"
)

// letters is the payload of that size and salt as text, which the program can
// take as a command and print.
func letters(size, salt int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = 'a' + byte((i*7+salt)%26)
	}
	return string(b)
}

// TestJSProgram has js-libp2p talk with the program of examples/node, as a
// foreigner on an open topic. Commands of the program cannot hold an empty text:
// the empty message goes from js-libp2p to it, and the other way in TestJS.
func TestJSProgram(t *testing.T) {
	needJS(t)
	program := filepath.Join(t.TempDir(), "node")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/go-nebnet/nebnet/examples/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
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
	args := []string{
		"-json", "-log-level", "error", "-listen", "/ip4/127.0.0.1/tcp/0",
		"-topic", "foreign=" + topic, "-open-topic", "foreign", "-subscribe", "foreign",
	}
	if id == gossip.Signed {
		args = append(args, "-sign")
	}
	if !jsDials {
		args = append(args, "-bootstrap", js.addr)
	}
	node := startPeer(t, "examples/node", program, args...)
	if jsDials {
		js.do(jsCommand{Do: "dial", Addr: node.addr})
		js.await("dialled")
	}
	js.await("mesh")
	for i, size := range sizes {
		if size > 0 {
			data := letters(size, i)
			if _, err := io.WriteString(node.in, fmt.Sprintf("broadcast foreign %s\n", data)); err != nil {
				t.Fatal(err)
			}
			node.await("broadcast")
			js.want([]byte(data))
		}
		js.do(jsCommand{Do: "publish", Size: size, Salt: 100 + i, Letters: true})
		if n := js.await("published").Peers; n != 1 {
			t.Fatalf("js-libp2p published to %d peers", n)
		}
		if got := node.await("message").Text; got != letters(size, 100+i) {
			t.Fatalf("examples/node got %d bytes, want %d", len(got), size)
		}
	}
}
