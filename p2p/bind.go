package p2p

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// bindSocket listens. Go sets TCP_NODELAY and keep-alive on what it accepts.
func bindSocket(ctx context.Context, s socketAddr) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, s.network, s.address)
	if s.network == "unix" && errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, s.address) && os.Remove(s.address) == nil {
		return lc.Listen(ctx, s.network, s.address)
	}
	return ln, err
}

// abandoned reports whether path is a unix socket on which nobody listens, as a
// process that was killed leaves it behind.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
