package testnet

import (
	"net"
	"sync"
	"time"
)

// Forwarder is a slow line in real TCP and real time: it forwards connections to a
// target, each way at a rate, after a latency, and with small buffers of its own.
// What the line has not taken waits in the sender's kernel, as behind a modem.
type Forwarder struct {
	ln      net.Listener
	target  string
	latency time.Duration
	wg      sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	conns  map[net.Conn]struct{}
	closed bool
	lines  [2]ledger // of all connections: to the target, and back
}

// forwardPiece is how much the line sends at once: a packet or so, so that what is
// urgent is not held up by the forwarder itself. forwardBuffer is what its kernel
// takes from the sender beyond that.
const (
	forwardPiece  = 1460
	forwardBuffer = 128 << 10 // twice a segment of loopback: with less, TCP waits for its timers
	// forwardAhead is how much of the line's time may be given away at once: a sleep
	// lasts longer than it should, and a piece of a fast line is short.
	forwardAhead = 5 * time.Millisecond
)

// NewForwarder listens on loopback. Close ends it and its connections.
func NewForwarder(target string, bitsPerSecond int64, latency time.Duration) (*Forwarder, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Forwarder{ln: ln, target: target, latency: latency, conns: make(map[net.Conn]struct{})}
	for i := range f.lines {
		f.lines[i] = ledger{rate: bitsPerSecond}
	}
	f.wg.Go(f.accept)
	return f, nil
}

// Addr is where it listens.
func (f *Forwarder) Addr() net.Addr { return f.ln.Addr() }

func (f *Forwarder) accept() {
	for {
		in, err := f.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", f.target)
		if err != nil {
			in.Close()
			continue
		}
		if !f.add(in, out) {
			return
		}
		for _, c := range []net.Conn{in, out} {
			c.(*net.TCPConn).SetReadBuffer(forwardBuffer)
		}
		f.wg.Go(func() { f.carry(out, in, 0) })
		f.wg.Go(func() { f.carry(in, out, 1) })
	}
}

func (f *Forwarder) add(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		if f.closed {
			c.Close()
			continue
		}
		f.conns[c] = struct{}{}
	}
	return !f.closed
}

// flying is a piece that has left the line and arrives later.
type flying struct {
	data    []byte
	arrives time.Time
}

// carry takes pieces when the line is free and delivers each after the latency.
func (f *Forwarder) carry(to, from net.Conn, line int) {
	air := make(chan flying, 1024)
	f.wg.Go(func() {
		defer to.Close()
		for p := range air {
			time.Sleep(time.Until(p.arrives))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
				break
			}
		}
		for range air { // until the reader has noticed
		}
	})
	defer close(air)
	for {
		b := make([]byte, forwardPiece)
		n, err := from.Read(b)
		if n > 0 {
			f.mu.Lock()
			sent := f.lines[line].reserve(time.Now(), n)
			f.mu.Unlock()
			time.Sleep(time.Until(sent) - forwardAhead)
			air <- flying{b[:n], sent.Add(f.latency)}
		}
		if err != nil {
			return
		}
	}
}

// Close ends all and waits.
func (f *Forwarder) Close() {
	f.mu.Lock()
	f.closed = true
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	f.ln.Close()
	for c := range conns {
		c.Close()
	}
	f.wg.Wait()
}
