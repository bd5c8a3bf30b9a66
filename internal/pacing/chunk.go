package pacing

import "time"

// A chunk that the transport has accepted can no longer be overtaken, and yamux
// queues up to 64 of them. So chunks are sized by time: as large as pays off on a
// fast connection, small on a slow one.
const (
	minChunk    = 4 << 10
	chunkTarget = 400 * time.Microsecond
	// chunkPiece holds a piece of 16 KiB of a large broadcast, with its head.
	chunkPiece = 17 << 10
	// nearChunk is the least to a near end (window.near): where writes take long there,
	// the machine is busy, and smaller ones make it busier.
	// With minChunk and marks after each of them large broadcasts take more CPU, and
	// more the less there is (go test -run '^$' -bench LargeLoopback ./netservice).
	nearChunk = chunkPiece

	// Largest is the most that goes out in one Write: each is a frame of the
	// multiplexer, and system calls, so there should be few. Yamux sends at most
	// 64 KiB at once, its own header of 12 bytes included, so one byte more would be a
	// frame of its own.
	Largest   = 64<<10 - muxHeader
	muxHeader = 12
)

// chunker measures how fast a connection is written and sizes the chunks.
type chunker struct {
	perKiB time.Duration // moving average of the time that 1 KiB takes
	last   time.Duration // when the last write ended
}

// chunkSample bounds one measurement, so that one stall is not remembered for
// long.
const chunkSample = 20 * time.Millisecond

// add notes a write. Of writes that overlap, each counts the time since the one
// that ended before it: with twenty streams each write takes twenty times as long,
// and small chunks would cost system calls and make it no faster.
func (p *chunker) add(bytes int, began, now time.Duration) {
	took := min(now-max(began, p.last), chunkSample) * 1024 / time.Duration(max(bytes, 1024))
	p.perKiB += (took - p.perKiB) / 8
	p.last = now
}

func (p *chunker) size() int {
	if p.perKiB <= 0 {
		return Largest
	}
	n := int(chunkTarget/p.perKiB) << 10
	return min(max(n, minChunk)-muxHeader, Largest)
}

// whole lets a small rest of a write go along with it: alone it would be a write, a
// record and a mark, and the chunk of a broadcast that it ends would be whole a turn
// later at each hop.
func whole(size, want int) int {
	if want <= min(size+size/8, Largest) {
		return want
	}
	return size
}

// stallAfter is how long one of several writers may be in its write before others
// no longer wait for it: several times what a small chunk takes, because on a slow
// connection all of them are slow.
func (p *chunker) stallAfter(writers int) time.Duration {
	chunk := p.perKiB * time.Duration(minChunk>>10) * time.Duration(writers)
	return min(max(5*time.Millisecond, 8*chunk), 500*time.Millisecond)
}
