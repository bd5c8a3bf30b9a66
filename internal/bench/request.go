package bench

import (
	"context"
	"io"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// AnswerOnce is the answering end of AskOnce, a stream handler: what was asked is
// the answer.
func AnswerOnce(s network.Stream) {
	defer s.Close()
	req, err := io.ReadAll(s)
	if err == nil {
		_, err = s.Write(req)
	}
	if err != nil {
		s.Reset()
	}
}

// AskOnce makes a request on a new stream: it writes, closes for writing and reads
// to the end.
func AskOnce(ctx context.Context, h host.Host, to peer.ID, id protocol.ID, req []byte) error {
	s, err := h.NewStream(network.WithNoDial(ctx, "request"), to, id)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Write(req); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(s)
	if err == nil && len(answer) != len(req) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
