package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of a message.
const (
	// MaxSize is the largest message, in bytes, and MaxChunks how many chunks it has.
	MaxSize   = 64 << 20
	MaxChunks = MaxSize / maxChunk
	// MaxHeader is the most bytes of the application's header.
	MaxHeader = 4 << 10
	// MaxType is the most bytes of a type's name.
	MaxType = 64

	minChunk   = 16 << 10
	maxChunk   = 64 << 10
	wantChunks = 128
)

// Sum is a SHA-256.
type Sum = [sha256.Size]byte

// Manifest says what a message consists of.
type Manifest struct {
	Type   string
	Size   int    // bytes, at least 1
	Sums   []Sum  // SHA-256 of each chunk
	Header []byte // of the application; may be empty
}

// ChunkSize is how many bytes each chunk of a message has, but the last: 16 KiB,
// doubled while there are more than 128 chunks, at most 64 KiB.
func ChunkSize(size int) int {
	n := minChunk
	for n < maxChunk && (size+n-1)/n > wantChunks {
		n *= 2
	}
	return n
}

// Chunks is how many chunks a message has.
func Chunks(size int) int {
	n := ChunkSize(size)
	return (size + n - 1) / n
}

// NewManifest describes data, which has 1 to MaxSize bytes. Neither data nor header
// is copied.
func NewManifest(typ string, data, header []byte) *Manifest {
	m := &Manifest{Type: typ, Size: len(data), Header: header, Sums: make([]Sum, 0, Chunks(len(data)))}
	for i := range Chunks(len(data)) {
		from, to := m.Span(i)
		m.Sums = append(m.Sums, sha256.Sum256(data[from:to]))
	}
	return m
}

// Span is where chunk i begins and ends.
func (m *Manifest) Span(i int) (from, to int) {
	n := ChunkSize(m.Size)
	return i * n, min((i+1)*n, m.Size)
}

// ErrManifest is what is wrong with a manifest that breaks the rules.
var ErrManifest = errors.New("malformed manifest")

// Validate checks what does not depend on what the receiver takes.
func (m *Manifest) Validate() error {
	switch {
	case m.Type == "" || len(m.Type) > MaxType:
		return fmt.Errorf("%w: type of %d bytes", ErrManifest, len(m.Type))
	case m.Size < 1 || m.Size > MaxSize:
		return fmt.Errorf("%w: size %d", ErrManifest, m.Size)
	case len(m.Sums) != Chunks(m.Size):
		return fmt.Errorf("%w: %d chunks for %d bytes", ErrManifest, len(m.Sums), m.Size)
	case len(m.Header) > MaxHeader:
		return fmt.Errorf("%w: header of %d bytes", ErrManifest, len(m.Header))
	}
	return nil
}

// The tags keep hashes of different things apart.
const (
	digestTag = "nebnet/swarm/digest/1"
	idTag     = "nebnet/swarm/id/1"
)

// Digest names the content: it covers network, type, size and chunks, and not the
// header, so that a header can vouch for it.
func (m *Manifest) Digest(network string) (d Sum) {
	h := sha256.New()
	for _, s := range []string{digestTag, network, m.Type} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.AppendUvarint(nil, uint64(m.Size)))
	for i := range m.Sums {
		h.Write(m.Sums[i][:])
	}
	h.Sum(d[:0])
	return d
}

// ID names the message: its digest and its header. With another header it is
// another message, so that nobody can have one refused by giving it a bad header.
func (m *Manifest) ID(network string) Sum { return m.IDOf(m.Digest(network)) }

// IDOf is ID for a digest that is known.
func (m *Manifest) IDOf(digest Sum) (id Sum) {
	h := sha256.New()
	h.Write([]byte(idTag))
	h.Write(digest[:])
	h.Write(m.Header)
	h.Sum(id[:0])
	return id
}
