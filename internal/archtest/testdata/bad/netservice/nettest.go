package netservice

import _ "github.com/go-nebnet/nebnet/netservice/nettest"
