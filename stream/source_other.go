//go:build !unix

package stream

import "net"

const canPoll = false

func socketError(net.Conn) error { return nil }

func (s *source) tryRead(uintptr) bool { return true }
