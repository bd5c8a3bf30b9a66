package netns

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// line is a bad line between two places: a TUN device in each, and between them a
// process for each that takes packets out, loses, repeats and delays them, and
// gives them to the other one over a socket. (The kernel's own netem is not
// everywhere.)
type line struct {
	Mine, Other string        // paths of the two sockets
	Every       int           // of so many packets one is lost, and another one comes twice
	Jitter      time.Duration // packets overtake each other within it
}

const tun = "tun0"

// badLine joins two places, by the address of each. It returns the line's sides.
func (w *world) badLine(l line, a, b *place, ipA, ipB string) (sides []*process) {
	w.t.Helper()
	dir := w.t.TempDir()
	socket := func(of string) string { return filepath.Join(dir, of) }
	for i, p := range []*place{a, b} {
		ip, far := ipA, ipB
		l.Mine, l.Other = socket("a"), socket("b")
		if i == 1 {
			ip, far, l.Mine, l.Other = ipB, ipA, socket("b"), socket("a")
		}
		w.ip("-n", p.name, "tuntap", "add", "dev", tun, "mode", "tun")
		w.ip("-n", p.name, "addr", "add", ip, "peer", far, "dev", tun)
		w.ip("-n", p.name, "link", "set", tun, "mtu", "1400", "up")
		side := p.run(part{Do: "line", Line: l})
		side.hear("ready", 10*time.Second)
		sides = append(sides, side)
	}
	return sides
}

// line carries packets until its input ends.
func (p part) line() error {
	dev, err := openTun()
	if err != nil {
		return fmt.Errorf("open %s: %w", tun, err)
	}
	defer dev.Close()
	out, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.Line.Mine, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer out.Close()
	go func() { // from the other one
		b := make([]byte, 1<<16)
		for {
			n, err := out.Read(b)
			if err != nil {
				return
			}
			_, _ = dev.Write(b[:n]) // a packet that the device does not take is lost
		}
	}()
	fmt.Println("ready", tun)
	var mu sync.Mutex // guards writes to the other one
	other := &net.UnixAddr{Name: p.Line.Other, Net: "unixgram"}
	go func() { // to the other one
		b := make([]byte, 1<<16)
		for i := 1; ; i++ {
			n, err := dev.Read(b)
			if err != nil {
				return
			}
			times := 1
			switch {
			case i == 2*p.Line.Every:
				fmt.Println("lost", 2)
				continue
			case i%p.Line.Every == 0:
				continue
			case i%p.Line.Every == p.Line.Every/2:
				times = 2
			}
			for range times {
				packet := append([]byte(nil), b[:n]...)
				time.AfterFunc(time.Duration(rand.Int64N(int64(p.Line.Jitter))), func() {
					mu.Lock()
					defer mu.Unlock()
					_, _ = out.WriteToUnix(packet, other)
				})
			}
		}
	}()
	return waitForEnd()
}

// openTun takes the TUN device of this namespace.
func openTun() (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], tun)
	request.flags = syscall.IFF_TUN | syscall.IFF_NO_PI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		_ = syscall.Close(fd)
		return nil, errno
	}
	return os.NewFile(uintptr(fd), tun), nil
}

// Row 48: over a line that loses, repeats and reorders packets, the session lives and
// all that is sent arrives once, whatever the transport.
func TestBadLine(t *testing.T) {
	for name, transport := range map[string]string{"tcp": "tcp/4001", "quic": "udp/4001/quic-v1"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			const ipA, ipB, notes = "30.0.0.1", "30.0.0.2", 2000
			atA, atB := w.add(victimAddr), w.add(honestAddr)
			sides := w.badLine(line{Every: 12, Jitter: 10 * time.Millisecond}, atA, atB, ipA, ipB)
			a, address := atA.node("/ip4/"+ipA+"/"+transport, "")
			b, _ := atB.node("/ip4/"+ipB+"/"+transport, address)
			for _, n := range []*process{a, b} {
				n.hear("connected", time.Minute)
			}
			for i := range notes {
				a.Say(fmt.Sprint("say ", i))
				b.Say(fmt.Sprint("say ", i))
			}
			for _, n := range []*process{a, b} {
				n.until("all arrived", time.Minute, func(r report) bool { return r.Heard >= notes })
				if r := n.report(); r.Heard != notes || len(r.Peers) != 1 {
					t.Errorf("%+v", r)
				}
			}
			for _, side := range sides {
				side.hear("lost", 10*time.Second)
			}
		})
	}
}
