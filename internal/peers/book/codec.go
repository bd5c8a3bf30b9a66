package book

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
)

// magic begins every file; the last byte is the version.
const magic = "nebbook\x01"

// MaxSize bounds what is decoded, in bytes.
const MaxSize = 32 << 20

// ErrCorrupt is returned for bytes that are no book, or not a whole one.
var ErrCorrupt = errors.New("address book is corrupt")

// Field numbers; SPEC.md has the messages.
const (
	fieldSaved protowire.Number = 1
	fieldEntry protowire.Number = 2
	fieldBan   protowire.Number = 3
)

// Append writes the book in the form that Decode reads.
func (b *Book) Append(dst []byte, now time.Time) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = putInt(dst, fieldSaved, now.Unix())
	var part, inner []byte
	ahead := b.clock.ahead(now)
	wall := func(v int64) int64 { return shifted(v, ahead, math.MaxInt64) }
	for _, e := range b.entries {
		part, inner = appendEntry(part[:0], inner, e, wall)
		dst = putBytes(dst, fieldEntry, part)
	}
	for _, x := range b.bans {
		part = appendBan(part[:0], x, now)
		dst = putBytes(dst, fieldBan, part)
	}
	sum := sha256.Sum256(dst[start:])
	return append(dst, sum[:]...)
}

// appendEntry writes an entry; wall makes its times those of the wall clock.
func appendEntry(dst, inner []byte, e *Entry, wall func(int64) int64) ([]byte, []byte) {
	dst = putBytes(dst, 1, []byte(e.ID))
	dst = putInt(dst, 2, int64(e.Source))
	dst = putBytes(dst, 3, []byte(e.Teller))
	if e.Kept {
		dst = putInt(dst, 4, 1)
	}
	dst = putInt(dst, 5, int64(e.Seq))
	for i, v := range []int64{e.Added, e.Seen, e.Tried, e.Good, e.Met} {
		dst = putInt(dst, protowire.Number(6+i), wall(v))
	}
	dst = putInt(dst, 11, int64(e.Fails))
	dst = putBytes(dst, 12, []byte(e.Agent))
	dst = putInt(dst, 13, int64(math.Float64bits(e.Useful)))
	dst = putInt(dst, 14, int64(e.Reason))
	for _, a := range e.Addrs {
		inner = putBytes(inner[:0], 1, []byte(a.Raw))
		for i, v := range []int64{int64(a.Source), wall(a.Seen), wall(a.Good), int64(a.Fails)} {
			inner = putInt(inner, protowire.Number(2+i), v)
		}
		dst = putBytes(dst, 15, inner)
	}
	dst = putInt(dst, 16, int64(math.Float64bits(e.Faults)))
	return dst, inner
}

func appendBan(dst []byte, x Ban, now time.Time) []byte {
	dst = putBytes(dst, 1, []byte(x.ID))
	if x.Prefix.IsValid() {
		dst = putBytes(dst, 2, []byte(x.Prefix.String()))
	}
	dst = putInt(dst, 3, x.Since.Unix())
	// What is left of it and not its end: a clock that is set in between must not
	// make it longer. Below 0 since when it is over.
	left := int64(x.Until.Sub(now) / time.Second)
	dst = putInt(dst, 4, max(left, 0))
	dst = putInt(dst, 5, max(-left, 0))
	dst = putInt(dst, 6, int64(x.Times))
	return putBytes(dst, 7, []byte(x.Reason))
}

// putInt and putBytes leave out what is zero.
func putInt(dst []byte, n protowire.Number, v int64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), uint64(v))
}

func putBytes(dst []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, n, protowire.BytesType), v)
}

// Decode reads what Append wrote. Entries are as old as they were when it was saved,
// and older by the time since then, as far as the clock can be believed: none when it was
// set back, maxOff at most. Lists are held to the bounds of a book, and what has expired
// is left out. Its error is ErrCorrupt.
func Decode(raw []byte, now time.Time) (*Book, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(raw))
	}
	if len(raw) < len(magic)+sha256.Size || string(raw[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: no address book of version %d", ErrCorrupt, magic[len(magic)-1])
	}
	body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(want[:], sum) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	b := New()
	b.entries = make(map[peer.ID]*Entry, min(len(raw)/100, MaxPeers)) // an entry takes about that
	last := b.clock.at(now)
	saved, then := last, last
	past := func(v uint64) int64 { return shifted(int64(min(v, math.MaxInt64/2)), last-then, last) }
	err := each(body[len(magic):], func(n protowire.Number, v uint64, part []byte) error {
		switch n {
		case fieldSaved:
			saved = min(int64(min(v, math.MaxInt64)), last)
			then = int64(min(v, math.MaxInt64/2)) // as the clock was then
			then += min(max(last-then, 0), int64(maxOff/time.Second))
		case fieldEntry:
			e, err := decodeEntry(part, past)
			if err == nil {
				b.restore(e)
			}
			return err
		case fieldBan:
			x, err := decodeBan(part, now, saved)
			if err == nil && len(b.bans) < MaxBans {
				b.bans[x.key()] = x
			}
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.Expire(now)
	b.changed = false
	return b, nil
}

// restore puts a decoded entry in, if there is a place for it.
func (b *Book) restore(e *Entry) {
	if e.ID == "" || b.entries[e.ID] != nil || !e.Kept && (len(b.entries) >= MaxPeers || len(e.Addrs) == 0) {
		return
	}
	e.group = e.findGroup()
	b.entries[e.ID] = e
	b.count(e, 1)
}

// decodeEntry reads an entry; past makes its times those of a new book.
func decodeEntry(raw []byte, past func(uint64) int64) (*Entry, error) {
	e := &Entry{}
	err := each(raw, func(n protowire.Number, v uint64, part []byte) error {
		switch n {
		case 1:
			e.ID = peer.ID(part[:min(len(part), maxID)])
		case 2:
			e.Source = source(v)
		case 3:
			e.Teller = peer.ID(part[:min(len(part), maxID)])
		case 4:
			e.Kept = v != 0
		case 5:
			e.Seq = v
		case 6:
			e.Added = past(v)
		case 7:
			e.Seen = past(v)
		case 8:
			e.Tried = past(v)
		case 9:
			e.Good = past(v)
		case 10:
			e.Met = past(v)
		case 11:
			e.Fails = uint16(min(v, math.MaxUint16))
		case 12:
			e.Agent = cut(string(part))
		case 13:
			e.Useful = positive(v)
		case 14:
			e.Reason = uint16(min(v, math.MaxUint16))
		case 15:
			a, err := decodeAddr(part, past)
			limit := MaxAddrs
			if e.Kept {
				limit = MaxAddrsKept
			}
			if err == nil && a.Raw != "" && len(e.Addrs) < limit {
				e.Addrs = append(e.Addrs, a)
			}
			return err
		case 16:
			e.Faults = positive(v)
		}
		return nil
	})
	return e, err
}

// positive is a number of these bits, 0 for what is none or below 0.
func positive(bits uint64) float64 {
	if f := math.Float64frombits(bits); f >= 0 && !math.IsInf(f, 0) {
		return f
	}
	return 0
}

func decodeAddr(raw []byte, past func(uint64) int64) (a Addr, err error) {
	err = each(raw, func(n protowire.Number, v uint64, part []byte) error {
		switch n {
		case 1:
			if len(part) <= MaxAddr {
				a.Raw = string(part)
			}
		case 2:
			a.Source = source(v)
		case 3:
			a.Seen = past(v)
		case 4:
			a.Good = past(v)
		case 5:
			a.Fails = uint16(min(v, math.MaxUint16))
		}
		return nil
	})
	return a, err
}

// decodeBan gives a ban its end by the clock of now. The time between is taken
// off what was left; a clock that was set back takes nothing off.
func decodeBan(raw []byte, now time.Time, saved int64) (x Ban, err error) {
	left := int64(0)
	err = each(raw, func(n protowire.Number, v uint64, part []byte) error {
		switch n {
		case 1:
			x.ID = peer.ID(part[:min(len(part), maxID)])
		case 2:
			p, err := netip.ParsePrefix(string(part))
			if err != nil {
				return fmt.Errorf("%w: network of a ban", ErrCorrupt)
			}
			x.Prefix = p.Masked()
		case 3:
			x.Since = time.Unix(int64(min(v, uint64(now.Unix()))), 0)
		case 4:
			left = int64(min(v, uint64(math.MaxInt32)))
		case 5:
			left = -int64(min(v, uint64(math.MaxInt32)))
		case 6:
			x.Times = int(min(v, math.MaxInt16))
		case 7:
			x.Reason = string(part[:min(len(part), MaxReason)])
		}
		return nil
	})
	if err == nil && x.ID == "" && !x.Prefix.IsValid() {
		err = fmt.Errorf("%w: ban of nobody", ErrCorrupt)
	}
	x.Until = now.Add(time.Duration(left-max(0, now.Unix()-saved)) * time.Second)
	return x, err
}

func source(v uint64) Source {
	if v >= uint64(sources) {
		return FromUnknown
	}
	return Source(v)
}

// each calls f for every field; v is set of varints, part of bytes. It shares
// memory with raw.
func each(raw []byte, f func(n protowire.Number, v uint64, part []byte) error) error {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrCorrupt, protowire.ParseError(n))
		}
		raw = raw[n:]
		var v uint64
		var part []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			part, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(num, typ, raw)
			num = 0
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrCorrupt, protowire.ParseError(n))
		}
		raw = raw[n:]
		if err := f(num, v, part); err != nil {
			return err
		}
	}
	return nil
}
