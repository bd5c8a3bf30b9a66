package stream

import "sync"

// One read of the local connection becomes one yamux frame, and with the
// 12-byte frame header one write to the encrypted connection. 65,507 bytes are
// the most that still fit one Noise message (65,519 bytes of plain text), so
// that a full read does not leave a message of a few bytes behind.
const chunkSize = 65507

// peekSize is what a reader may hold while it waits, where the transport
// cannot wait without a buffer.
const peekSize = 512

// buffers lends buffers of chunkSize bytes to directions that have something
// to carry. Waiting directions hold none.
type buffers struct{ pool *sync.Pool }

func newBuffers() buffers {
	return buffers{&sync.Pool{New: func() any { return new([chunkSize]byte) }}}
}

func (b buffers) get() *[chunkSize]byte    { return b.pool.Get().(*[chunkSize]byte) }
func (b buffers) put(buf *[chunkSize]byte) { b.pool.Put(buf) }
