package session

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// client is another implementation of SPEC.md, which has nothing of this package:
// bytes on streams.
type client struct {
	t       *testing.T
	host    host.Host
	to      *node
	control network.Stream

	mu      sync.Mutex // guards the fields below, and writes to control
	numbers map[string]uint64
	sizes   map[string]uint64
	ready   bool
	pings   int
	records [][]byte
	goodbye uint16
	got     []string
	errs    []error
	opened  uint32
	changed chan struct{}
}

func newClient(t *testing.T, h host.Host, to *node) *client {
	c := &client{t: t, host: h, to: to, numbers: make(map[string]uint64), sizes: make(map[string]uint64), changed: make(chan struct{})}
	h.SetStreamHandler("/neb/"+testNetwork+"/msg/2.0.0", c.receive)
	h.Peerstore().AddAddrs(to.host.ID(), to.host.Addrs(), peerstore.PermanentAddrTTL)
	st, err := h.NewStream(t.Context(), to.host.ID(), helloProtocol)
	if err != nil {
		t.Fatal(err)
	}
	c.control = st
	if _, err := st.Write([]byte(handshakeBytes)); err != nil {
		t.Fatal(err)
	}
	c.offer(1, "answers", 1<<20, true)
	c.frame(5, nil) // ready
	go c.attend()
	return c
}

// frame writes a control frame.
func (c *client) frame(typ byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := binary.AppendUvarint([]byte{typ}, uint64(len(body)))
	if _, err := c.control.Write(append(b, body...)); err != nil {
		c.errs = append(c.errs, err)
	}
}

// offer tells of a message type.
func (c *client) offer(number uint64, name string, maxSize uint64, taken bool) {
	b := append(binary.AppendUvarint(nil, number), 1)
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	b = binary.AppendUvarint(b, maxSize)
	properties := uint64(2)
	if taken {
		properties |= 1
	}
	b = binary.AppendUvarint(b, properties|1<<20) // and a bit that nobody knows
	b = append(b, "of a later version"...)
	c.frame(4, append(binary.AppendUvarint(nil, uint64(len(b))), b...))
}

// attend reads the control stream.
func (c *client) attend() {
	r := bufio.NewReader(c.control)
	for {
		typ, err := r.ReadByte()
		if err != nil {
			return
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if typ == 1 {
			c.frame(2, body)
		}
		c.mu.Lock()
		switch typ {
		case 1:
			c.pings++
		case 3:
			c.goodbye = binary.BigEndian.Uint16(body)
			c.control.Close()
		case 4:
			c.entries(body)
		case 5:
			c.ready = true
		case 6:
			c.records = append(c.records, body)
		}
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

func (c *client) entries(b []byte) {
	take := func(b *[]byte) uint64 {
		v, n := binary.Uvarint(*b)
		*b = (*b)[n:]
		return v
	}
	for len(b) > 0 {
		n := take(&b)
		e := b[:n]
		b = b[n:]
		number := take(&e)
		kind := e[0]
		e = e[1:]
		for name, known := range c.numbers {
			if known == number {
				delete(c.numbers, name)
			}
		}
		if kind != 1 {
			continue
		}
		n = take(&e)
		name := string(e[:n])
		e = e[n:]
		c.sizes[name] = take(&e)
		if take(&e)&1 != 0 {
			c.numbers[name] = number
		}
	}
}

// until waits for a condition.
func (c *client) until(what string, ok func() bool) {
	c.t.Helper()
	limit := time.After(time.Minute)
	for {
		c.mu.Lock()
		met, changed := ok(), c.changed
		c.mu.Unlock()
		if met {
			return
		}
		select {
		case <-changed:
		case <-limit:
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// send opens a stream, writes messages and closes it.
func (c *client) send(name string, flags byte, bodies ...[]byte) network.Stream {
	c.t.Helper()
	c.mu.Lock()
	number := c.numbers[name]
	c.mu.Unlock()
	st, err := c.host.NewStream(c.t.Context(), c.to.host.ID(), "/neb/"+testNetwork+"/msg/2.0.0")
	if err != nil {
		c.t.Fatal(err)
	}
	b := binary.AppendUvarint(nil, number)
	for _, body := range bodies {
		b = append(binary.AppendUvarint(b, uint64(len(body))), flags)
		if flags != 0 { // the raw length is what a block begins with
			raw, _ := binary.Uvarint(body)
			b = binary.AppendUvarint(b, raw)
		}
		b = append(b, body...)
	}
	if _, err := st.Write(b); err != nil {
		c.t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
	c.opened++
	return st
}

// receive reads a stream of the other side.
func (c *client) receive(st network.Stream) {
	err := func() error {
		r := bufio.NewReader(st)
		if number, err := binary.ReadUvarint(r); err != nil || number != 1 {
			return fmt.Errorf("number %d: %w", number, err)
		}
		for {
			size, err := binary.ReadUvarint(r)
			if err == io.EOF || errors.Is(err, network.ErrReset) {
				return nil // between two frames
			}
			flags, err2 := r.ReadByte()
			if err = errors.Join(err, err2); err != nil {
				return err
			}
			raw := size
			if flags != 0 {
				if raw, err = binary.ReadUvarint(r); err != nil {
					return err
				}
			}
			body := make([]byte, size)
			if _, err := io.ReadFull(r, body); err != nil {
				return err
			}
			if flags == 1 {
				if body, err = unpackS2(body); err != nil {
					return err
				}
			}
			if uint64(len(body)) != raw {
				return fmt.Errorf("%d bytes, %d were announced", len(body), raw)
			}
			c.mu.Lock()
			c.got = append(c.got, string(body))
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
		}
	}()
	st.Close()
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.errs = append(c.errs, err)
	}
}

var errBlock = errors.New("bad block")

// unpackS2 is a decoder of S2 blocks, after format_description.txt of Snappy and
// the rule of repeated offsets in SPEC.md.
func unpackS2(b []byte) (out []byte, err error) {
	defer func() {
		if recover() != nil { // cut short
			err = errBlock
		}
	}()
	size, n := binary.Uvarint(b)
	b = b[n:]
	little := func(n int) (v int) {
		for i := range n {
			v |= int(b[i]) << (8 * i)
		}
		b = b[n:]
		return v
	}
	last := 0
	for len(b) > 0 {
		tag := int(b[0])
		b = b[1:]
		var length, offset int
		switch tag & 3 {
		case 0:
			length = tag>>2 + 1
			if length > 60 {
				length = little(length-60) + 1
			}
			out = append(out, b[:length]...)
			b = b[length:]
			continue
		case 1:
			offset = tag>>5<<8 | little(1)
			length = tag>>2&7 + 4
			if offset == 0 {
				switch offset = last; length - 4 {
				case 5:
					length = 8 + little(1)
				case 6:
					length = 260 + little(2)
				case 7:
					length = 65540 + little(3)
				}
			}
		case 2:
			length, offset = tag>>2+1, little(2)
		case 3:
			length, offset = tag>>2+1, little(4)
		}
		if offset == 0 || offset > len(out) {
			return nil, errBlock
		}
		last = offset
		for range length {
			out = append(out, out[len(out)-offset])
		}
	}
	if uint64(len(out)) != size {
		return nil, errBlock
	}
	return out, nil
}

// snappyRun is a Snappy block of one byte, n times.
func snappyRun(c byte, n int) []byte {
	b := append(binary.AppendUvarint(nil, uint64(n)), 0, c) // a literal of one byte
	for n--; n > 0; {
		step := min(n, 64)
		b = append(b, byte(step-1)<<2|2, 1, 0) // a copy from one byte before
		n -= step
	}
	return b
}

// TestIndependentClient: what is written from SPEC.md alone talks to this package.
func TestIndependentClient(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		answers := msgtype.Spec{Name: "answers", MaxSize: 2 << 20}
		b := simNode(t, net, 1, nil, tx, answers)
		b.engine.SetRecord([]byte("a record"))
		c := newClient(t, simHost(t, net, 2), b)
		s := <-b.attached
		c.until("the first offers", func() bool {
			return c.ready && c.numbers["tx"] != 0 && c.sizes["answers"] == 2<<20 && len(c.records) == 1
		})

		// There: plain, compressed by another compressor, empty, large.
		large := strings.Repeat("0123456789abcdef", 50_000)
		c.send("tx", 0, []byte("plain"), nil, []byte(large))
		c.send("tx", 1, snappyRun('x', 5000))
		want := []string{"plain", "", large, strings.Repeat("x", 5000)}
		b.await(t, "the messages", func() bool { return slices.Equal(b.got["tx"], want) })

		// And back, with all that the compressor makes.
		want = []string{"one", "", strings.Repeat("y", 900_000), string(randomBytes(1, 100_000)), words(300_000)}
		for _, m := range want {
			send(t, s, "answers", m)
		}
		c.until("the answers", func() bool { return len(c.got) == len(want) })
		c.mu.Lock()
		for i := range want {
			if c.got[i] != want[i] {
				t.Errorf("answer %d: %d bytes differ", i, len(c.got[i]))
			}
		}
		c.mu.Unlock()
		// The smaller maximum holds, at once.
		if err := trySend(s, "answers", make([]byte, 1<<20+1), SendOptions{}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("more than the client takes: %v", err)
		}
		if err := trySend(s, "tx", nil, SendOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("a type that the client does not take: %v", err)
		}

		// What the client does not take any more, and takes again.
		c.frame(4, []byte{2, 1, 0})
		time.Sleep(time.Second)
		if err := trySend(s, "answers", nil, SendOptions{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("withdrawn: %v", err)
		}
		c.offer(1, "answers", 1<<20, true)
		time.Sleep(time.Second)
		send(t, s, "answers", "again")
		c.until("the last answer", func() bool { return c.got[len(c.got)-1] == "again" })

		// A violation costs the stream, and nothing else.
		st := c.send("tx", 9, []byte("what"))
		if _, err := io.Copy(io.Discard, st); !errors.Is(err, network.ErrReset) {
			t.Errorf("a violation: %v", err)
		}
		c.send("tx", 0, []byte("after"))
		b.await(t, "the message after", func() bool { return b.got["tx"][len(b.got["tx"])-1] == "after" })
		c.frame(99, bytes.Repeat([]byte{1}, 30_000)) // of a later version
		time.Sleep(time.Minute)
		c.until("pings", func() bool { return c.pings > 0 })
		if r, _ := s.Reason(); r != handshake.ReasonNone {
			t.Errorf("after a minute: %v", r)
		}

		// The end, with a stream on its way.
		c.send("tx", 0, []byte("last"))
		c.frame(3, binary.BigEndian.AppendUint32([]byte{0, 2}, c.opened))
		c.control.CloseWrite()
		<-s.Done()
		if r, byRemote := s.Reason(); r != handshake.ReasonShuttingDown || !byRemote {
			t.Errorf("reason %v, by the peer: %v", r, byRemote)
		}
		b.await(t, "the last message", func() bool { return b.got["tx"][len(b.got["tx"])-1] == "last" })
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.errs) > 0 {
			t.Errorf("errors %v", c.errs)
		}
	})
}

// words is text that shrinks in all the ways that S2 has.
func words(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "block %d of %d, receipt %d; ", i, i*7919%104729, i%13)
		if i%500 == 0 {
			b.WriteString(strings.Repeat("=", i*3))
		}
	}
	return b.String()[:n]
}
