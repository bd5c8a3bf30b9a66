package dispatcher

import _ "github.com/go-nebnet/nebnet/internal/session"
