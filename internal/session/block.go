package session

import (
	"sync"

	"github.com/go-nebnet/nebnet/internal/pacing"
)

const (
	smallBlock = 4 << 10
	largeBlock = pacing.Largest // goes out in one Write
)

// block is a pooled piece of an outbound queue.
type block struct{ b []byte }

var (
	smallBlocks = sync.Pool{New: func() any { return &block{b: make([]byte, 0, smallBlock)} }}
	largeBlocks = sync.Pool{New: func() any { return &block{b: make([]byte, 0, largeBlock)} }}
)

func getBlock(large bool) *block {
	if large {
		return largeBlocks.Get().(*block)
	}
	return smallBlocks.Get().(*block)
}

func (b *block) release() {
	large := cap(b.b) == largeBlock
	b.b = b.b[:0]
	if large {
		largeBlocks.Put(b)
		return
	}
	smallBlocks.Put(b)
}

// readBuffer is what a stream reads into while there is something to read.
type readBuffer struct {
	b     [64 << 10]byte
	batch [][]byte
}

var readBuffers = sync.Pool{New: func() any { return &readBuffer{batch: make([][]byte, 0, 64)} }}

// maxPooledBatch bounds the batch that goes back to the pool with its buffer.
const maxPooledBatch = 4096

func (r *readBuffer) release() {
	if cap(r.batch) > maxPooledBatch {
		r.batch = make([][]byte, 0, 64)
	}
	readBuffers.Put(r)
}
