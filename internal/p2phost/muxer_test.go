package p2phost

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	yamuxconn "github.com/libp2p/go-yamux/v5"
)

// slowWrites takes so long for each large write, unless its deadline comes first.
type slowWrites struct {
	net.Conn
	takes    time.Duration
	deadline time.Time
	closed   chan struct{}
}

func (c *slowWrites) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *slowWrites) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

func (c *slowWrites) Write(b []byte) (int, error) {
	if len(b) < 1<<10 {
		return c.Conn.Write(b)
	}
	tooLate := !c.deadline.IsZero() && time.Now().Add(c.takes).After(c.deadline)
	wait := c.takes
	if tooLate {
		wait = time.Until(c.deadline)
	}
	select {
	case <-time.After(wait):
	case <-c.closed:
		return 0, net.ErrClosed
	}
	if tooLate {
		return 0, errSlow{}
	}
	return c.Conn.Write(b)
}

type errSlow struct{}

func (errSlow) Error() string   { return "too slow" }
func (errSlow) Timeout() bool   { return true }
func (errSlow) Temporary() bool { return true }

// TestSlowWrite: a frame that takes longer than yamux allows by itself does not end
// the connection, one that never ends does.
func TestSlowWrite(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		lives bool
	}{{20 * time.Second, true}, {time.Hour, false}} {
		t.Run(tt.takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, y := net.Pipe()
				a, err := newMuxer().NewConn(&slowWrites{Conn: x, takes: tt.takes, closed: make(chan struct{})}, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				b, err := yamux.DefaultTransport.NewConn(y, true, nil)
				if err != nil {
					t.Fatal(err)
				}
				var line interface{ LastRead() time.Time }
				if !a.As(&line) {
					t.Fatal("the line is not to be had")
				}
				var inner *yamuxconn.Session
				if !a.As(&inner) {
					t.Error("yamux is not to be had")
				}
				st, err := a.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				go st.Write(make([]byte, 60<<10))
				time.Sleep(5 * time.Minute)
				if a.IsClosed() == tt.lives {
					t.Errorf("closed: %v", a.IsClosed())
				}
				if last := time.Since(line.LastRead()); tt.lives && last > time.Minute {
					t.Errorf("last read %s ago", last)
				}
				a.Close()
				b.Close()
			})
		})
	}
}
