package wire

import (
	_ "github.com/go-nebnet/nebnet/internal/gossip"
	_ "github.com/go-nebnet/nebnet/internal/handshake"
	_ "github.com/go-nebnet/nebnet/internal/session"
)
