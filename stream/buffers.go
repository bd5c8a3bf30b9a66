package stream

import "sync"

// frameSize is the size of a buffer for one frame. No muxer in use makes larger
// ones.
const frameSize = 64 << 10

// bulkFrames is how many frames are read from the local end at a time once
// reads come back full: each system call has a cost beside that of the bytes.
const bulkFrames = 4

const bulkSize = bulkFrames * frameSize

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
func bulky(n, size, frame int) bool { return n == size || size > frame && n > frame }
