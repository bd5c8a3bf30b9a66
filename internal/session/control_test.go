package session

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

func TestControlFrames(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 5000)
	b := appendPing(nil, ctlPing, 7)
	b = append(b, 99, 3, 1, 2, 3) // of a later version
	b = appendControl(b, ctlRecord, long)
	b = appendControl(b, ctlReady, nil)
	b = goodbye{handshake.ReasonShuttingDown, 3, "maintenance"}.append(b)
	var types []byte
	for len(b) > 0 {
		typ, body, n, need, fault := parseControl(b)
		if n == 0 || need != 0 || fault != FaultNone {
			t.Fatalf("%x: %d, %v", b, n, fault)
		}
		for i := range n {
			_, _, m, need, fault := parseControl(b[:i])
			if m != 0 || fault != FaultNone || need != 0 && need != n || need == 0 && i >= ctlMaxHead {
				t.Errorf("prefix of %d bytes: %d, %d, %v", i, m, need, fault)
			}
		}
		switch typ {
		case ctlGoodbye:
			if parseGoodbye(body) != (goodbye{handshake.ReasonShuttingDown, 3, "maintenance"}) {
				t.Errorf("goodbye %x", body)
			}
		case ctlRecord:
			if !bytes.Equal(body, long) {
				t.Errorf("record of %d bytes", len(body))
			}
		}
		types = append(types, typ)
		b = b[n:]
	}
	if !bytes.Equal(types, []byte{ctlPing, 99, ctlRecord, ctlReady, ctlGoodbye}) {
		t.Errorf("types %v", types)
	}
	for name, bad := range map[string][]byte{
		"short ping": {ctlPing, 7}, "long pong": {ctlPong, 9}, "short goodbye": {ctlGoodbye, 2}, "empty goodbye": {ctlGoodbye, 0},
		"ready with a body": {ctlReady, 1}, "empty offers": {ctlOffers, 0}, "empty record": {ctlRecord, 0},
		"long record":      binary.AppendUvarint([]byte{ctlRecord}, maxRecord+1),
		"long payload":     binary.AppendUvarint([]byte{ctlPayload}, maxPayload+1),
		"long frame":       binary.AppendUvarint([]byte{99}, ctlMaxBody+1),
		"length not short": {99, 0x80, 0},
		"endless length":   {99, 0xff, 0xff, 0xff},
	} {
		if _, _, _, _, fault := parseControl(bad); fault != FaultControl {
			t.Errorf("%s: %v", name, fault)
		}
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(appendPing(nil, ctlPing, 1))
	f.Add(appendPing(nil, ctlPong, 1<<63))
	f.Add(goodbye{handshake.ReasonRequested, 9, ""}.append(nil))
	f.Add([]byte{99, 255})
	f.Add(appendControl(nil, ctlReady, nil))
	f.Add(appendControl(nil, ctlRecord, make([]byte, 300)))
	f.Add(appendControl(nil, ctlOffers, appendEntry(nil, entry{1, Offer{KindMessage, "tx", 1 << 20, Taken, 0}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, body, n, need, fault := parseControl(b)
		if n == 0 {
			if need > ctlMaxHead+ctlMaxBody || need != 0 && need <= len(b) {
				t.Fatalf("%x: needs %d", b, need)
			}
			return
		}
		if fault != FaultNone || n > len(b) || typ != b[0] || len(body) > ctlMaxBody {
			t.Fatalf("%x: type %d, %d bytes, %v", b, typ, n, fault)
		}
		if again := appendControl(nil, typ, body); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x: encoded again %x", b[:n], again)
		}
	})
}
