package multistream

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// The lines are what go-multistream reads, also where a length takes two bytes.
func TestLines(t *testing.T) {
	for _, size := range []int{1, 4, 63, 125, 126, 127, 128, 129, 256} {
		name := protocol.ID("/" + strings.Repeat("a", size-1))
		r := bytes.NewReader(Lines(name))
		for _, want := range []protocol.ID{multistream.ProtocolID, name} {
			if got, err := multistream.ReadNextToken[protocol.ID](r); err != nil || got != want {
				t.Errorf("%d bytes: read %q, %v", size, got, err)
			}
		}
		if r.Len() != 0 {
			t.Errorf("%d bytes: %d too many", size, r.Len())
		}
	}
}

func ExampleLines() {
	fmt.Printf("%q\n", Lines("/x/1"))
	// Output: "\x13/multistream/1.0.0\n\x05/x/1\n"
}

// What was not negotiated is told from other errors, also behind others.
func TestNotSupported(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{multistream.ErrNotSupported[protocol.ID]{Protos: []protocol.ID{"/x/1"}}, true},
		{fmt.Errorf("open: %w", multistream.ErrNotSupported[protocol.ID]{}), true},
	} {
		if got := NotSupported(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func ExampleNotSupported() {
	err := fmt.Errorf("open a stream: %w", multistream.ErrNotSupported[protocol.ID]{Protos: []protocol.ID{"/x/1"}})
	fmt.Println(NotSupported(err))
	// Output: true
}
