package multistream

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// NotSupported tells whether an error of opening a stream says that the peer speaks none
// of the protocols that it was asked for.
func NotSupported(err error) bool {
	_, not := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err)
	return not
}
