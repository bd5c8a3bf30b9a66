package swarm

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// incoming takes a stream of a peer. Nothing of it is read before the peer is a
// member; the newest counts.
func (e *Engine) incoming(s network.Stream) {
	p := s.Conn().RemotePeer()
	e.mu.Lock()
	if e.closed || e.cfg.Host.Network().Connectedness(p) != network.Connected {
		e.mu.Unlock()
		_ = s.Reset()
		return
	}
	r := e.remoteLocked(p)
	old := r.early
	if !r.member {
		r.early = s
	} else {
		old = nil
		e.beginReadLocked(r, s)
	}
	member := r.member
	e.mu.Unlock()
	if old != nil {
		_ = old.Reset()
	}
	if !member {
		e.lookAgain(r)
	}
}

// lookAgain asks about a peer that may have become a member just now.
func (e *Engine) lookAgain(r *remote) {
	if _, member := e.cfg.Takes(r.id); member {
		e.PeerChanged(r.id)
	}
}

// beginReadLocked makes a stream the one that is read.
func (e *Engine) beginReadLocked(r *remote, s network.Stream) {
	old := r.in
	r.in = s
	if !e.spawnLocked(func() {
		if old != nil {
			_ = old.Reset()
			e.startAgain(r)
		}
		e.read(r, s)
	}) {
		r.in = nil
	}
}

// reader reads one stream.
type reader struct {
	e     *Engine
	r     *remote
	s     network.Stream
	b     *bufio.Reader
	line  *pacing.Budget
	frame []byte

	// The chunk that is coming, in pieces.
	coming bool
	wanted bool
	head   wire.Frame
	chunk  []byte
	size   int
}

// frameStall is how long the rest of a frame may take, at least.
const frameStall = 15 * time.Second

func (e *Engine) read(r *remote, s network.Stream) {
	rd := &reader{e: e, r: r, s: s, b: bufio.NewReaderSize(s, 4<<10)}
	if e.cfg.Budgets != nil {
		rd.line = e.cfg.Budgets.Of(s.Conn())
	}
	var err error
	for err == nil {
		err = rd.next()
	}
	_ = s.Reset()
	e.mu.Lock()
	mine := r.in == s
	if mine {
		r.in = nil
	}
	e.mu.Unlock()
	if !mine {
		return
	}
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrManifest) {
		e.cfg.Obs.Counter(obs.SwarmFaults + sched.FaultFrame.String()).Inc(1)
		if e.cfg.Report != nil {
			e.cfg.Report(r.id, "", sched.FaultFrame.String(), false)
		}
	}
	if e.life.Err() == nil {
		// The peer begins anew, or has ended.
		e.startAgain(r)
	}
}

// next reads a frame and acts on it.
func (rd *reader) next() error {
	size, err := wire.ReadLength(rd.b)
	if err != nil {
		return err
	}
	if cap(rd.frame) < size {
		rd.frame = make([]byte, size)
	}
	b := rd.frame[:size]
	partial := rd.b.Buffered() < len(b)
	if partial {
		_ = rd.s.SetReadDeadline(time.Now().Add(frameStall + pacing.Allowance(int64(size))))
	}
	if _, err := io.ReadFull(rd.b, b); err != nil {
		return err
	}
	if partial {
		_ = rd.s.SetReadDeadline(time.Time{})
	}
	if rd.line != nil {
		rd.line.Heard()
	}
	rd.e.wireIn.Inc(int64(size) + 1)
	f, err := wire.Decode(b)
	if err != nil {
		return err
	}
	ev := sched.Event{Kind: sched.Received, Peer: rd.r.id, Frame: &f}
	switch f.Kind {
	case wire.Chunk:
		rd.piece(&f)
		return nil
	case wire.Announce:
		f.Manifest.Header = append([]byte(nil), f.Manifest.Header...) // it is read into again
		ev.Digest = f.Manifest.Digest(rd.e.cfg.Network)
		ev.ID = f.Manifest.IDOf(ev.Digest)
		ev.Unheeded = rd.e.cfg.Heeds != nil && !rd.e.cfg.Heeds(rd.r.id, f.Manifest.Type)
	}
	rd.step(ev)
	return nil
}

// step tells the scheduler, as long as the stream is the one that counts.
func (rd *reader) step(evs ...sched.Event) {
	e := rd.e
	var todo []sched.Effect
	e.mu.Lock()
	if rd.r.in == rd.s {
		for _, ev := range evs {
			todo = e.stepLocked(ev, todo)
		}
	}
	e.unlock()
	e.finish(todo)
	if e.progress != nil {
		e.progress.signal()
	}
}

// begin finds out about a chunk that has begun. One that is not wanted is counted, and
// read past.
func (rd *reader) begin(f *wire.Frame) {
	e := rd.e
	head := *f
	head.Data = nil
	var todo []sched.Effect
	e.mu.Lock()
	size, wanted := e.sched.Expect(rd.r.id, f)
	if !wanted && rd.r.in == rd.s {
		todo = e.stepLocked(sched.Event{Kind: sched.Received, Peer: rd.r.id, Frame: &head}, nil)
	}
	e.unlock()
	e.finish(todo)
	rd.coming, rd.head, rd.wanted, rd.size, rd.chunk = true, head, wanted, size, nil
}

// piece takes a part of a chunk.
func (rd *reader) piece(f *wire.Frame) {
	same := rd.coming && rd.head.Number == f.Number && rd.head.Yours == f.Yours && rd.head.Index == f.Index
	if !same {
		rd.begin(f)
	}
	heard := sched.Event{Kind: sched.Heard, Peer: rd.r.id}
	if !rd.wanted {
		rd.size -= len(f.Data)
		rd.coming = rd.size > 0
		rd.step(heard)
		return
	}
	heard.Frame = &rd.head
	rd.chunk = append(rd.chunk, f.Data...)
	if len(rd.chunk) < rd.size {
		rd.step(heard)
		return
	}
	whole := rd.head
	whole.Data = rd.chunk
	rd.coming, rd.chunk = false, nil
	rd.step(heard, sched.Event{Kind: sched.Received, Peer: rd.r.id, Frame: &whole, Sum: sha256.Sum256(whole.Data)})
}
