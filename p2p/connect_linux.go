package p2p

import (
	"net/netip"
	"syscall"
)

// connectNow begins to connect a socket to a service on this machine, before
// package net does. Linux is done with that when the call returns, so that package
// net finds the socket connected and need not wait for the poller to tell it.
// What goes wrong, package net finds out when it connects the socket itself.
func connectNow(socket syscall.RawConn, to netip.AddrPort) {
	if !to.Addr().IsLoopback() {
		return
	}
	var sa syscall.Sockaddr = &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		sa = &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	_ = socket.Control(func(fd uintptr) { _ = syscall.Connect(int(fd), sa) })
}
