//go:build !linux

package p2p

import (
	"net/netip"
	"syscall"
)

func connectNow(syscall.RawConn, netip.AddrPort) {}
