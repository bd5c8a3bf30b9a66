package session

import (
	"context"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"testing"
)

func TestSendReceive(t *testing.T) {
	for _, security := range []string{"tls", "noise", "quic"} {
		t.Run(security, func(t *testing.T) {
			spec := msgtype.Spec{Name: "tx", MaxSize: 4 << 20}
			a := newNode(t, newHost(t, security), nil, spec)
			b := newNode(t, newHost(t, security), nil, spec)
			defer b.close(t)
			defer a.close(t)
			s, _ := join(t, a, b)
			var want []string
			for i := range 3000 {
				m := fmt.Sprintf("message %d", i)
				switch i % 1000 {
				case 7:
					m = string(randomBytes(uint64(i), 2<<20))
				case 8:
					m = ""
				case 9:
					m = string(make([]byte, 3<<20))
				}
				want = append(want, m)
				if err := s.Send(context.Background(), "tx", []byte(m), SendOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			b.await(t, "all messages", func() bool { return len(b.got["tx"]) == len(want) })
			for i := range want {
				if b.got["tx"][i] != want[i] {
					t.Fatalf("message %d differs: %d bytes instead of %d", i, len(b.got["tx"][i]), len(want[i]))
				}
			}
			st := s.Stats().Send
			if st.Queued != uint64(len(want)) {
				t.Errorf("stats %+v", st)
			}
		})
	}
}
