package reqresp

import (
	"fmt"
	"io"
)

// maxName bounds the name of a method, in bytes.
const maxName = 64

// head is the first thing that a caller says on a stream: which method all calls
// on it are of.
type head struct {
	kind Kind
	name string
}

func appendHead(dst []byte, h head) []byte {
	dst = append(dst, byte(h.kind), byte(len(h.name)))
	return append(dst, h.name...)
}

// readHead reads no byte beyond the head.
func readHead(r io.Reader) (head, error) {
	var b [2 + maxName]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return head{}, err
	}
	n := int(b[1])
	if n > maxName {
		return head{}, FaultHead
	}
	if _, err := io.ReadFull(r, b[2:2+n]); err != nil {
		return head{}, midFrame(err)
	}
	h := head{kind: Kind(b[0]), name: string(b[2 : 2+n])}
	if checkName(h.name) != nil || !h.kind.known() {
		return head{}, FaultHead
	}
	return h, nil
}

// checkName tells what is wrong with the name of a method.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("has %d bytes, 1 to %d are allowed", len(name), maxName)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return fmt.Errorf("%q has a character other than letters, digits, dot, dash and underscore", name)
		}
	}
	return nil
}
