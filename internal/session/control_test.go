package session

import (
	"bytes"
	"testing"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

func TestControlFrames(t *testing.T) {
	b := appendPing(nil, ctlPing, 7)
	b = append(b, 99, 3, 1, 2, 3) // of a later version
	b = goodbye{handshake.ReasonShuttingDown, 3}.append(b)
	var types []byte
	for len(b) > 0 {
		typ, body, n, fault := parseControl(b)
		if n == 0 || fault != FaultNone {
			t.Fatalf("%x: %d, %v", b, n, fault)
		}
		for i := range n {
			if _, _, m, fault := parseControl(b[:i]); m != 0 || fault != FaultNone {
				t.Errorf("prefix of %d bytes: %d, %v", i, m, fault)
			}
		}
		if typ == ctlGoodbye && parseGoodbye(body) != (goodbye{handshake.ReasonShuttingDown, 3}) {
			t.Errorf("goodbye %x", body)
		}
		types = append(types, typ)
		b = b[n:]
	}
	if !bytes.Equal(types, []byte{ctlPing, 99, ctlGoodbye}) {
		t.Errorf("types %v", types)
	}
	for _, bad := range [][]byte{{ctlPing, 7}, {ctlPong, 9}, {ctlGoodbye, 2}, {ctlGoodbye, 0}} {
		if _, _, _, fault := parseControl(bad); fault != FaultControl {
			t.Errorf("%x: %v", bad, fault)
		}
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(appendPing(nil, ctlPing, 1))
	f.Add(appendPing(nil, ctlPong, 1<<63))
	f.Add(goodbye{handshake.ReasonRequested, 9}.append(nil))
	f.Add([]byte{99, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, body, n, fault := parseControl(b)
		if n == 0 {
			return
		}
		if fault != FaultNone || n > len(b) || n != ctlHead+len(body) || typ != b[0] {
			t.Fatalf("%x: type %d, %d bytes, %v", b, typ, n, fault)
		}
	})
}
