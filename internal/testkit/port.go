package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports that systems do not give to sockets without one of their own: Linux
// begins those at 32768, others above. One that was closed there would be given
// to the next test of any process.
const (
	firstPort = 12000
	lastPort  = 32000
)

// FreePort returns a port of 127.0.0.1 that nothing uses, over TCP or UDP, and that
// no socket gets by chance: it is still free when a program is started again.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if portIsFree(port) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func portIsFree(port int) bool {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	stream, err := net.Listen("tcp4", at)
	if err != nil {
		return false
	}
	defer stream.Close()
	packets, err := net.ListenPacket("udp4", at)
	if err != nil {
		return false
	}
	_ = packets.Close()
	return true
}
