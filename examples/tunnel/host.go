package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	webrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	webtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/p2p"
)

const streamsPerPeer = 1024

// newHost makes a plain go-libp2p host with room for many streams.
func newHost(keyFile string, listen []ma.Multiaddr) (host.Host, error) {
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, err
	}
	limits := p2p.ResourceLimits(streamsPerPeer).Build(rcmgr.DefaultLimits.AutoScale())
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key), libp2p.ResourceManager(rm), libp2p.DisableMetrics(), libp2p.UserAgent("nebnet-tunnel"),
		transports,
	}
	if len(listen) == 0 {
		opts = append(opts, libp2p.NoListenAddrs)
	} else {
		opts = append(opts, listenLater)
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, err
	}
	for _, a := range listen {
		if err := h.Network().Listen(a); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

// transports are those of libp2p.DefaultTransports, without SO_REUSEPORT: two
// tunnels would share a TCP port, and each get connections meant for the other.
var transports = libp2p.ChainOptions(
	libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
	libp2p.Transport(quic.NewTransport),
	libp2p.Transport(websocket.New),
	libp2p.Transport(webtransport.New),
	libp2p.Transport(webrtc.New),
)

// listenLater makes a host that does not listen yet. libp2p.New would log a
// failure in lines of its own, and take one good address of several for
// success. (NoListenAddrs would give up the relay client as well.)
func listenLater(cfg *libp2p.Config) error {
	cfg.ListenAddrs = []ma.Multiaddr{}
	return nil
}

// loadKey reads the key, or makes one. An empty name makes one that is not
// kept.
func loadKey(file string) (crypto.PrivKey, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		if err == nil {
			key, err := crypto.UnmarshalPrivateKey(b)
			if err != nil {
				return nil, fmt.Errorf("key file %s: %w", file, err)
			}
			return key, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil || file == "" {
		return key, err
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	return key, errors.Join(err, f.Sync(), f.Close())
}
