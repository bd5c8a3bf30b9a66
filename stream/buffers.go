package stream

import "sync"

// frameSize is how much is written at a time, to a yamux stream and to the local
// end. One write to a yamux stream becomes one frame, and with the frame's header
// of 12 bytes one write to the encrypted connection. With Noise that is one
// message, which adds 2 bytes of length and 16 of authentication, and the whole
// fits one segment of Linux's loopback interface: 65,464 bytes with IPv6. A
// little more would still fit the message, and make a second segment of a few
// bytes for each frame.
const frameSize = 65464 - 12 - 2 - 16

// bulkSize is how much is read at a time once reads come back full: each system
// call has a cost beside that of the bytes.
const bulkSize = 4 * frameSize

// peekSize is what a reader may hold while it waits, where the transport
// cannot wait without a buffer.
const peekSize = 512

// buffers lends memory to directions that have something to carry. Waiting
// directions hold none.
type buffers struct{ frame, bulk *sync.Pool }

// buffer is memory on loan, of frameSize or bulkSize bytes.
type buffer struct {
	data []byte
	home *sync.Pool
}

func newBuffers() buffers {
	pool := func(size int) *sync.Pool {
		p := new(sync.Pool)
		p.New = func() any { return &buffer{make([]byte, size), p} }
		return p
	}
	return buffers{pool(frameSize), pool(bulkSize)}
}

// get lends a buffer of frameSize bytes, or of bulkSize.
func (b buffers) get(bulk bool) *buffer {
	if bulk {
		return b.bulk.Get().(*buffer)
	}
	return b.frame.Get().(*buffer)
}

func (b *buffer) release() { b.home.Put(b) }

func (b *buffer) bulk() bool { return len(b.data) == bulkSize }

// bulky reports whether the read after one that brought n bytes into a buffer
// of size bytes should have a large one.
func bulky(n, size int) bool { return n == size || size == bulkSize && n > frameSize }
