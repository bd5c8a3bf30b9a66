package session

import (
	_ "github.com/go-nebnet/nebnet/internal/handshake"
	_ "github.com/go-nebnet/nebnet/internal/peers"
)
