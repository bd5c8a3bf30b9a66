package netservice_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/netservice"
)

// mirror is a method whose answer is its request.
var mirror = netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())

func (s *siege) requests() protocol.ID {
	return protocol.ID("/neb/" + s.victim.Node().Network() + "/req/1.0.0")
}

// openCall is the frame that begins a call, with all of its request.
func openCall(call uint64, request string) []byte {
	body := append([]byte{0, 0, byte(len(request))}, request...) // no deadline, no window
	return append(append(binary.AppendUvarint([]byte{0x81}, call), byte(len(body))), body...)
}

// answerTo is a frame with all of an answer.
func answerTo(call uint64, answer string) []byte {
	return append(append(binary.AppendUvarint([]byte{0x82}, call), byte(1+len(answer)), byte(len(answer))), answer...)
}

// nextAnswer reads a frame of a short answer.
func nextAnswer(r *bufio.Reader) (string, error) {
	if _, err := r.ReadByte(); err != nil {
		return "", err
	}
	call, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	return fmt.Sprint(call, " ", string(body[1:])), nil
}

// Row 27: a caller uses the numbers of its calls twice. The later ones are dropped and
// counted, and who goes on is banned.
func TestHostileReusedRequests(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		handled := make(chan string, 100)
		if _, err := mirror.Serve(s.victim, func(_ context.Context, _ peer.ID, request []byte) ([]byte, error) {
			handled <- string(request)
			return request, nil
		}); err != nil {
			t.Fatal(err)
		}
		a := s.session()
		st, err := a.NewStream(t.Context(), s.victim.Node().ID(), s.requests())
		if err != nil {
			t.Fatal(err)
		}
		st.Write(binary.AppendUvarint(nil, s.number("method echo")))
		st.Write(slices.Concat(openCall(5, "five"), openCall(5, "again"), openCall(4, "four"), openCall(6, "six")))
		r := bufio.NewReader(st)
		var got []string
		for range 2 {
			text, err := nextAnswer(r)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"5 five", "6 six"}) {
			t.Errorf("answers %q", got)
		}
		if n := s.count("neb.net.requests.faults.reused"); n != 2 || len(handled) != 2 {
			t.Errorf("%d faults, %d handled", n, len(handled))
		}
		for range 10 {
			st.Write(openCall(1, "more"))
		}
		s.event(netservice.PeerBanned, a.ID())
		if len(handled) != 2 {
			t.Errorf("%d handled", len(handled))
		}
	})
}

// Row 27: a server answers calls that were never made. The answers are dropped and
// counted, the call that was made gets its own, and who goes on is banned.
func TestHostileUnsolicitedAnswers(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.attacker()
		calls := make(chan network.Stream, 8)
		a.SetStreamHandler(s.requests(), func(st network.Stream) { calls <- st })
		a.enlist()
		offered := append([]byte{2, 2, 4}, "echo"...)             // number 2, a method
		offered = append(binary.AppendUvarint(offered, 1<<20), 0) // of at most 1 MiB
		offered = append(offered[:len(offered)-1], 0x81, 2)       // served, unary
		body := append([]byte{byte(len(offered))}, offered...)
		a.control.Write(append([]byte{4, byte(len(body))}, body...))
		time.Sleep(time.Second)
		type result struct {
			answer []byte
			err    error
		}
		results := make(chan result, 1)
		call := func() {
			b, err := mirror.Call(t.Context(), s.victim, a.ID(), []byte("asked"))
			results <- result{b, err}
		}
		go call()
		st := next(t, "call", calls)
		r := bufio.NewReader(st)
		if n, err := binary.ReadUvarint(r); err != nil || n != 2 {
			t.Fatalf("a stream of %d: %v", n, err)
		}
		st.Write(slices.Concat(answerTo(99, "wrong"), answerTo(98, "wrong"), answerTo(1, "right")))
		if got := next(t, "answer", results); string(got.answer) != "right" || got.err != nil {
			t.Errorf("answer %q, %v", got.answer, got.err)
		}
		if n := s.count("neb.net.requests.faults.unsolicited"); n != 2 {
			t.Errorf("%d faults are counted", n)
		}
		for range 10 {
			st.Write(answerTo(97, "wrong"))
		}
		s.event(netservice.PeerBanned, a.ID())
	})
}
