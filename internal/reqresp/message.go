package reqresp

import (
	"encoding/binary"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// terms are the fields in front of the first message of a call.
type terms struct {
	deadline time.Duration // 0: none
	window   int           // for streamed answers
}

// maxDeadline is the longest deadline that is told; a longer one is none.
const maxDeadline = 24 * time.Hour

func appendTerms(dst []byte, t terms) []byte {
	ms := uint64(0)
	if t.deadline > 0 && t.deadline <= maxDeadline {
		ms = uint64((t.deadline + time.Millisecond - 1) / time.Millisecond) // never 0, which is none
	}
	dst = binary.AppendUvarint(dst, ms)
	return binary.AppendUvarint(dst, uint64(t.window))
}

// readTerms reads the terms of a call of that kind.
func readTerms(r *frameReader, k Kind) (terms, error) {
	ms, err := r.uvarint()
	if err != nil {
		return terms{}, err
	}
	window, err := r.uvarint()
	if err != nil {
		return terms{}, err
	}
	if ms > uint64(maxDeadline/time.Millisecond) || window > maxWindow || (k == Stream) != (window >= minWindow) || k != Stream && window != 0 {
		return terms{}, FaultFrame
	}
	return terms{deadline: time.Duration(ms) * time.Millisecond, window: int(window)}, nil
}

// failure is what an error frame says.
type failure struct {
	code  Code
	after time.Duration
	text  string
}

const (
	maxText  = obs.MaxRemoteText
	maxAfter = time.Hour
)

func appendFailure(dst []byte, f failure) []byte {
	dst = append(dst, byte(f.code))
	dst = binary.AppendUvarint(dst, uint64(min(max(f.after, 0), maxAfter)/time.Millisecond))
	return append(dst, obs.Clean(f.text)...)
}

func readFailure(r *frameReader) (failure, error) {
	var code [1]byte
	if err := r.read(code[:]); err != nil {
		return failure{}, err
	}
	ms, err := r.uvarint()
	if err != nil {
		return failure{}, err
	}
	if code[0] == 0 || ms > uint64(maxAfter/time.Millisecond) || r.left > maxText {
		return failure{}, FaultFrame
	}
	text := make([]byte, r.left)
	if err := r.read(text); err != nil {
		return failure{}, err
	}
	return failure{Code(code[0]), time.Duration(ms) * time.Millisecond, obs.Clean(string(text))}, nil
}
