package handshake_test

import (
	"errors"
	"fmt"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

func ExampleCheck() {
	local := handshake.Hello{VersionMin: 1, VersionMax: 3, ChainID: "main", Genesis: []byte{1}}
	remote := handshake.Hello{VersionMin: 2, VersionMax: 9, ChainID: "main", Genesis: []byte{1}}
	fmt.Println(handshake.Check(local, remote))
	remote.ChainID = "test"
	fmt.Println(handshake.Check(local, remote))
	// Output:
	// 3 no reason
	// 0 different chain
}

func ExampleReason() {
	err := fmt.Errorf("dial: %w", handshake.ReasonTooManyPeers)
	fmt.Println(errors.Is(err, handshake.ReasonTooManyPeers), handshake.ReasonOf(err).Label())
	// Output: true too_many_peers
}
