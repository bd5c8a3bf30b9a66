package handshake

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/quic-go/quic-go"
)

// A host that is full says so in two ways, as the end of its connection comes after the
// dial or before that has returned.
func TestHostFull(t *testing.T) {
	const full = network.ConnResourceLimitExceeded
	dial := func(cause error) error {
		return &swarm.DialError{DialErrors: []swarm.TransportError{{Cause: io.EOF}, {Cause: cause}}, Cause: swarm.ErrAllDialsFailed}
	}
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"another error", io.EOF, false},
		{"connection", &network.ConnError{Remote: true, ErrorCode: full}, true},
		{"connection, by this host", &network.ConnError{ErrorCode: full}, false},
		{"connection, gated", &network.ConnError{Remote: true, ErrorCode: network.ConnGated}, false},
		{"dial", dial(&quic.ApplicationError{Remote: true, ErrorCode: quic.ApplicationErrorCode(full)}), true},
		{"dial, by this host", dial(&quic.ApplicationError{ErrorCode: quic.ApplicationErrorCode(full)}), false},
		{"dial, gated", dial(&quic.ApplicationError{Remote: true, ErrorCode: quic.ApplicationErrorCode(network.ConnGated)}), false},
		{"dial, another error", dial(errors.New("no route")), false},
	} {
		err := test.err
		if err != nil {
			err = fmt.Errorf("connect: %w", err)
		}
		if got := HostFull(err); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
		if got := ReasonOf(err) == ReasonTooManyPeers; got != test.want {
			t.Errorf("%s: %v", test.name, ReasonOf(err))
		}
	}
}
