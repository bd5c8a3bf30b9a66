package netservice

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// Service is what a NebService does for the parts of a program that send and
// receive. Code that takes a Service in place of a *NebService can be tested with
// one of its own: embed a Service in a struct and write the methods that the code
// calls. The methods of Type work on any Service.
type Service interface {
	// Start and Stop are the life cycle, see NebService.
	Start() error
	Stop() error

	// Declare, Register and Deregister are about message types and subscribers.
	Declare(spec MessageSpec) error
	Register(subs ...dispatcher.Subscriber) error
	Deregister(subs ...dispatcher.Subscriber) error
	// SetValidator and Resume are about the validation of broadcasts.
	SetValidator(msgType string, v Validator) error
	Resume(key string) int

	// PutMessage delivers here, the others send.
	PutMessage(msg dispatcher.Message) error
	Broadcast(ctx context.Context, msgType string, data []byte) error
	Relay(ctx context.Context, msg dispatcher.Message) error
	SendMessageToPeer(ctx context.Context, msgType string, data []byte, peerID string, opts ...SendOption) error
	SendMessageToPeers(ctx context.Context, msgType string, data []byte, filter PeerFilter, opts ...SendOption) ([]string, error)

	// Peers and what follows are about peers.
	Peers() []PeerInfo
	WaitForPeers(ctx context.Context, n int) error
	ConnectPeer(ctx context.Context, addr string) error
	ClosePeer(peerID string, reason error) error
	BanPeer(peerID string, d time.Duration) error
	UnbanPeer(peerID string) error
	ReservePeer(addr string) error
	UnreservePeer(peerID string) error
	SubscribePeers(kinds ...PeerEventKind) *PeerSubscription

	// Stats accounts for all of it.
	Stats() Stats
}

var _ Service = (*NebService)(nil)

// insider is a NebService, or what embeds one.
type insider interface{ inside() *NebService }

func (s *NebService) inside() *NebService { return s }

// inside returns the NebService behind a Service, nil for one that the program has
// made up.
func inside(s Service) *NebService {
	if i, ok := s.(insider); ok {
		return i.inside()
	}
	return nil
}

// senderOf is the peer that a message came from, empty for the node itself.
func senderOf(s Service, m dispatcher.Message) peer.ID {
	if n := inside(s); n != nil {
		return n.node.sender(m)
	}
	id, _ := peer.Decode(m.MessageFrom())
	return id
}
