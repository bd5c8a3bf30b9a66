package p2phost

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

const (
	// acceptBacklog is a shorter queue of streams that the other side has opened
	// and nobody has accepted. Every connection pays for its room, and libp2p
	// accepts at once. An opener with that many streams on their way waits for an
	// answer, which is 600 new streams a second over a round trip of 100 ms.
	acceptBacklog = 2 * negotiatingPerPeer

	// writeTimeout is how long one frame of up to 64 KiB may wait for the kernel
	// before the connection is closed. yamux has 10 s, and leaves 5 of them: a
	// frame takes 16 s at 4 KiB a second, and a kernel whose buffer is full takes
	// nothing before a third of it is free. A dead peer is found by pings.
	writeTimeout = time.Minute

	// measureEvery is how often yamux measures the round trip, each side on its own.
	// It is for the growth of windows. Every 30 s, as it does by itself, would wake
	// an idle node with many peers often.
	measureEvery = 2 * time.Minute
)

// muxer is libp2p's yamux with a shorter queue, more time for a write and fewer pings, whose
// connections know when something was last read from them.
type muxer struct{ yamux.Transport }

func newMuxer() *muxer {
	m := &muxer{*yamux.DefaultTransport}
	m.AcceptBacklog, m.MeasureRTTInterval = acceptBacklog, measureEvery
	return m
}

// NewConn is yamux's.
func (m *muxer) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	l := &line{Conn: c, start: time.Now()}
	mc, err := m.Transport.NewConn(l, server, scope)
	if err != nil {
		return nil, err
	}
	return &muxed{mc, l}, nil
}

// muxed tells of its line who asks.
type muxed struct {
	network.MuxedConn
	line *line
}

// As also fills in something that tells when the last byte came.
func (m *muxed) As(target any) bool {
	if t, ok := target.(*interface{ LastRead() time.Time }); ok {
		*t = m.line
		return true
	}
	return m.MuxedConn.As(target)
}

// line is the connection under yamux.
type line struct {
	net.Conn
	start time.Time
	read  atomic.Int64 // nanoseconds since start
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.read.Store(int64(time.Since(l.start)))
	}
	return n, err
}

// LastRead is when something was last read, at first when the connection was made.
func (l *line) LastRead() time.Time { return l.start.Add(time.Duration(l.read.Load())) }

// SetWriteDeadline gives a frame writeTimeout in place of the 5 to 10 s of yamux.
// The few milliseconds that yamux gives its last words stay.
func (l *line) SetWriteDeadline(t time.Time) error {
	if t.IsZero() || time.Until(t) < time.Second {
		return l.Conn.SetWriteDeadline(t)
	}
	return l.Conn.SetWriteDeadline(time.Now().Add(writeTimeout + yamuxRenews))
}

// yamuxRenews is how long yamux leaves a deadline as it is.
const yamuxRenews = 5 * time.Second
