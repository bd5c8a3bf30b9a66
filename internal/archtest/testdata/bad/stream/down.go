package stream

import _ "github.com/go-nebnet/nebnet/p2p"
