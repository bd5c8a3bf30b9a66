package obs

import _ "github.com/go-nebnet/nebnet/netservice"
