package session

import "time"

// Chunks: a chunk that the transport has accepted can no longer be overtaken,
// and the multiplexer queues up to 64 of them. So chunks are sized by time: as
// large as pays off on a fast connection, small on a slow one.
const (
	minChunk    = 4 << 10
	chunkTarget = 400 * time.Microsecond
)

// maxChunk is by class: what may be overtaken goes out in smaller pieces.
var maxChunk = [classes]int{largeBlock, largeBlock, 32<<10 - muxHeader}

// pace measures how fast one stream is written and sizes its chunks.
type pace struct {
	perKiB time.Duration // moving average of the time that 1 KiB takes
}

// paceSample bounds one measurement, so that one stall is not remembered for
// long.
const paceSample = 20 * time.Millisecond

func (p *pace) add(bytes int, took time.Duration) {
	took = min(took, paceSample) * 1024 / time.Duration(max(bytes, 1024))
	p.perKiB += (took - p.perKiB) / 8
}

func (p *pace) chunk(class int) int {
	most := maxChunk[class]
	if p.perKiB <= 0 {
		return most
	}
	n := int(chunkTarget/p.perKiB) << 10
	return min(max(n, minChunk)-muxHeader, most)
}

// stallAfter is how long another writer may be in its write before a writer
// with this pace no longer waits for it: several times what its own chunks
// take, because on a slow connection all of them are slow.
func (p *pace) stallAfter() time.Duration {
	own := p.perKiB * time.Duration(minChunk>>10)
	return min(max(5*time.Millisecond, 8*own), 500*time.Millisecond)
}
