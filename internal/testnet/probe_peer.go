package testnet

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multistream"
)

// RawPeer is an attacker with an identity: a secured yamux connection and
// nothing above it. It answers no stream, not even identify, and no limit of
// its own holds it back. Close it at the end.
//
// Its own streams come from OpenStream, which negotiates nothing, and from the
// methods below. A stream that is not read stops the one who writes to it once
// yamux's window is full.
type RawPeer struct {
	transport.CapableConn
}

// RawPeerConfig is optional in all its fields.
type RawPeerConfig struct {
	// Key is the identity; nil makes a new one. Use one key for peers of
	// several sources to see one identity arrive from many addresses.
	Key crypto.PrivKey
	// PSK is the key of the private network, if it is one.
	PSK pnet.PSK
	// Noise takes Noise instead of TLS.
	Noise bool
}

// DialRaw connects from src to the host of victim, and goes no further than the
// security handshake and the multiplexer.
func (n *Net) DialRaw(ctx context.Context, src netip.Addr, victim peer.AddrInfo, cfg RawPeerConfig) (*RawPeer, error) {
	if len(victim.Addrs) == 0 {
		return nil, fmt.Errorf("testnet: raw peer: %s has no address", victim.ID)
	}
	u, err := rawUpgrader(cfg)
	if err != nil {
		return nil, fmt.Errorf("testnet: raw peer: %w", err)
	}
	t, err := n.Transport(src)(u, nil)
	if err != nil {
		return nil, fmt.Errorf("testnet: raw peer: %w", err)
	}
	c, err := t.Dial(ctx, victim.Addrs[0], victim.ID)
	if err != nil {
		return nil, fmt.Errorf("testnet: raw peer: %w", err)
	}
	return &RawPeer{CapableConn: c}, nil
}

func rawUpgrader(cfg RawPeerConfig) (transport.Upgrader, error) {
	key := cfg.Key
	if key == nil {
		var err error
		if key, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			return nil, err
		}
	}
	muxers := []tptu.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	var security sec.SecureTransport
	var err error
	if cfg.Noise {
		security, err = noise.New(noise.ID, key, muxers)
	} else {
		security, err = libp2ptls.New(libp2ptls.ID, key, muxers)
	}
	if err != nil {
		return nil, err
	}
	return tptu.New([]sec.SecureTransport{security}, muxers, cfg.PSK, nil, nil)
}

// OpenMute opens up to count streams that say nothing, not even which protocol
// they want. It returns those it could open, and the error that ended it. Yamux
// lets 256 wait for the victim to take them; beyond, it waits for ctx.
func (p *RawPeer) OpenMute(ctx context.Context, count int) ([]network.MuxedStream, error) {
	var streams []network.MuxedStream
	for range count {
		s, err := p.OpenStream(ctx)
		if err != nil {
			return streams, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// Open opens a stream and negotiates id, waiting for the answer. The stream is
// then the caller's to write rubbish on.
func (p *RawPeer) Open(ctx context.Context, id protocol.ID) (network.MuxedStream, error) {
	s, err := p.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if err := multistream.SelectProtoOrFail(id, s); err != nil {
		s.Reset()
		return nil, fmt.Errorf("negotiate %s: %w", id, err)
	}
	return s, nil
}

// Flood opens up to count streams of a protocol and leaves them open: the probe
// for a handler that gets stuck on each. It returns those that were answered,
// and the error that ended it.
func (p *RawPeer) Flood(ctx context.Context, id protocol.ID, count int) ([]network.MuxedStream, error) {
	var streams []network.MuxedStream
	for range count {
		s, err := p.Open(ctx, id)
		if err != nil {
			return streams, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// Storm opens a stream, asks for a protocol without waiting for the answer and
// resets the stream at once, rounds times. It returns how many rounds it got
// through, and the error that ended it.
func (p *RawPeer) Storm(ctx context.Context, id protocol.ID, rounds int) (int, error) {
	for i := range rounds {
		s, err := p.OpenStream(ctx)
		if err != nil {
			return i, err
		}
		lazy := multistream.NewMSSelect(s, id)
		if _, err := lazy.Write(nil); err != nil {
			s.Reset()
			return i, err
		}
		if err := s.Reset(); err != nil {
			return i, err
		}
	}
	return rounds, nil
}
