// Package net has the words of an older layer on a netservice.NebService, so that a
// program can move to it file by file: put this file into the program, change its
// import of the old layer to it, and replace the calls one after the other with
// those that MIGRATION.md names.
package net

import (
	"context"
	"errors"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// The words for messages and subscribers are the same.
type (
	Message       = dispatcher.Message
	MessageWeight = dispatcher.MessageWeight
	Subscriber    = dispatcher.Subscriber
	PeersFilter   = netservice.PeerFilter
)

// NewSubscriber is the old constructor.
func NewSubscriber(id any, msgChan chan Message, doFilter bool, msgType string, weight MessageWeight) Subscriber {
	return dispatcher.NewSubscriber(id, msgChan, doFilter, msgType, weight)
}

// The old priorities.
const (
	MessagePriorityHigh = iota
	MessagePriorityNormal
	MessagePriorityLow
)

// Serializable is what the old Broadcast took.
type Serializable interface {
	ToProto() ([]byte, error) // in most layers ToProto and proto.Marshal
}

// sendTimeout is how long a send waits for room. The old layer waited for ever, or
// dropped in silence.
const sendTimeout = 5 * time.Second

// NetService is the old service.
type NetService struct{ neb *netservice.NebService }

// NewNetService takes the new configuration: see MIGRATION.md for its fields.
func NewNetService(cfg netservice.Config, opts ...netservice.Option) (*NetService, error) {
	neb, err := netservice.NewNebService(cfg, opts...)
	if err != nil {
		return nil, err
	}
	return &NetService{neb: neb}, nil
}

// Neb is the service behind it, for code that has moved.
func (ns *NetService) Neb() *netservice.NebService { return ns.neb }

// Start and Stop. The old Stop had no error: what did not end went on.
func (ns *NetService) Start() error { return ns.neb.Start() }
func (ns *NetService) Stop() error  { return ns.neb.Stop() }

// Register and Deregister had no errors: a wrong subscriber heard nothing.
func (ns *NetService) Register(subscribers ...Subscriber) error {
	return ns.neb.Register(subscribers...)
}
func (ns *NetService) Deregister(subscribers ...Subscriber) error {
	return ns.neb.Deregister(subscribers...)
}

// PutMessage delivers to the subscribers of this node.
func (ns *NetService) PutMessage(msg Message) error { return ns.neb.PutMessage(msg) }

// Broadcast spreads a message. The priority of a broadcast is that of its type.
func (ns *NetService) Broadcast(name string, msg Serializable, _ int) error {
	data, err := msg.ToProto()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	return ns.neb.Broadcast(ctx, name, data)
}

// Relay passes a received message on. The old layer encoded it again; here it is the
// message as it came.
func (ns *NetService) Relay(msg Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	return ns.neb.Relay(ctx, msg)
}

// SendMessageToPeer sends to one peer.
func (ns *NetService) SendMessageToPeer(name string, data []byte, priority int, peerID string) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	return ns.neb.SendMessageToPeer(ctx, name, data, peerID, netservice.AtPriority(class(priority)))
}

// SendMessageToPeers sends to those that the filter chooses, and returns for whom
// the message was queued. Nobody at all is no error in the old words.
func (ns *NetService) SendMessageToPeers(name string, data []byte, priority int, filter PeersFilter) ([]string, error) {
	to, err := ns.neb.SendMessageToPeers(context.Background(), name, data, filter, netservice.AtPriority(class(priority)))
	if errors.Is(err, netservice.ErrNoPeers) {
		err = nil
	}
	return to, err
}

// ClosePeer ends the session with a peer. An error that is no DisconnectReason is
// told to the peer as one of the application.
func (ns *NetService) ClosePeer(peerID string, reason error) error {
	return ns.neb.ClosePeer(peerID, reason)
}

// class is an old priority in the new words.
func class(priority int) netservice.Priority {
	switch priority {
	case MessagePriorityHigh:
		return netservice.PriorityHigh
	case MessagePriorityLow:
		return netservice.PriorityLow
	}
	return netservice.PriorityNormal
}
