package stream_test

import (
	_ "github.com/go-nebnet/nebnet/internal/testnet"
	_ "github.com/go-nebnet/nebnet/netservice"
	_ "github.com/go-nebnet/nebnet/stream"
)

func init() {}
