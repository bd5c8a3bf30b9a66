package handshake

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

var _ Stream = network.Stream(nil)

func TestCheck(t *testing.T) {
	with := func(f func(*Hello)) Hello { h := testHello(2); f(&h); return h }
	tests := []struct {
		name    string
		remote  Hello
		version uint32
		want    Reason
	}{
		{"same", testHello(2), 2, 0},
		{"newer", with(func(h *Hello) { h.VersionMin, h.VersionMax = 2, 9 }), 2, 0},
		{"older", with(func(h *Hello) { h.VersionMax = 1 }), 1, 0},
		{"too new", with(func(h *Hello) { h.VersionMin, h.VersionMax = 3, 9 }), 0, ReasonWrongVersion},
		{"no version", with(func(h *Hello) { h.VersionMin, h.VersionMax = 0, 0 }), 0, ReasonWrongVersion},
		{"chain before version", with(func(h *Hello) { h.ChainID, h.VersionMin, h.VersionMax = "x", 3, 9 }), 0, ReasonWrongChain},
		{"chain prefix", with(func(h *Hello) { h.ChainID = "testchai" }), 0, ReasonWrongChain},
		{"genesis prefix", with(func(h *Hello) { h.Genesis = []byte{1, 2} }), 0, ReasonWrongGenesis},
		{"genesis last byte", with(func(h *Hello) { h.Genesis = []byte{1, 2, 4} }), 0, ReasonWrongGenesis},
		{"self", testHello(1), 0, ReasonSelf},
		{"unknown instance", testHello(0), 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			local := testHello(1)
			for _, swap := range []bool{false, true} {
				a, b := local, tt.remote
				if swap {
					a, b = b, a
				}
				if v, r := Check(a, b); v != tt.version || r != tt.want {
					t.Errorf("swapped %v: version %d, %v; want %d, %v", swap, v, r, tt.version, tt.want)
				}
			}
		})
	}
}

// The vector stands in SPEC.md.
func TestNetworkID(t *testing.T) {
	genesis := make([]byte, 32)
	for i := range genesis {
		genesis[i] = byte(i)
	}
	if got := NetworkID("nebnet-test", genesis); got != "b9dac994f263a620" {
		t.Errorf("NetworkID = %s, want b9dac994f263a620", got)
	}
	seen := map[string]string{}
	for _, in := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}} {
		id := NetworkID(in[0], []byte(in[1]))
		if other, ok := seen[id]; ok || len(id) != 16 {
			t.Errorf("%q and %q share %s", in, other, id)
		}
		seen[id] = in[0]
	}
	p := Protocols("0011223344556677")
	if len(p) != 2 || p[0] != "/neb/0011223344556677/hello/1.0.0" || p[1] != ProtocolAny {
		t.Errorf("protocols %v", p)
	}
}

func TestReason(t *testing.T) {
	labels := map[string]bool{}
	for r := ReasonNone; r.Known(); r++ {
		l := r.Label()
		if l == "" || strings.ContainsAny(l, " .") || labels[l] || r.String() == "" {
			t.Errorf("reason %d has label %q and text %q", r, l, r)
		}
		labels[l] = true
		if err := fmt.Errorf("dial: %w", r); !errors.Is(err, r) || errors.Is(err, r+1) {
			t.Errorf("errors.Is fails for %v", r)
		}
	}
	if r := Reason(60000); r.Label() != "other" || r.Known() || r.Code() != 60000 || r.String() != "reason 60000" {
		t.Errorf("unknown reason: %q %q", r.Label(), r)
	}
	if ReasonNone.Err() != nil || ReasonSelf.Err() == nil {
		t.Error("Err")
	}
	for _, r := range []Reason{ReasonWrongChain, ReasonWrongGenesis, ReasonWrongVersion, ReasonSelf} {
		if !r.Permanent() {
			t.Errorf("%v is not permanent", r)
		}
	}
	// Codes are part of the wire format.
	if ReasonWrongChain.Code() != 4 || ReasonBanned.Code() != 9 || ReasonRateLimited.Code() != 19 {
		t.Error("a code has changed")
	}
}

func TestReasonOf(t *testing.T) {
	tests := []struct {
		err  error
		want Reason
	}{
		{nil, ReasonNone},
		{fmt.Errorf("x: %w", ReasonBanned), ReasonBanned},
		{&RefusedError{Reason: ReasonTooManyPeers}, ReasonTooManyPeers},
		{fmt.Errorf("x: %w", multistream.ErrNotSupported[protocol.ID]{}), ReasonNotNebnet},
		{&net.DNSError{IsTimeout: true}, ReasonTimeout},
		{errors.New("broken pipe"), ReasonTransportLost},
		{fmt.Errorf("x: %w", &network.ConnError{Remote: true, ErrorCode: network.ConnResourceLimitExceeded}), ReasonTooManyPeers},
		{&network.ConnError{ErrorCode: network.ConnResourceLimitExceeded}, ReasonTransportLost},
		{&network.ConnError{Remote: true, ErrorCode: network.ConnShutdown}, ReasonTransportLost},
	}
	for _, tt := range tests {
		if got := ReasonOf(tt.err); got != tt.want {
			t.Errorf("ReasonOf(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestRefusedErrorText(t *testing.T) {
	e := &RefusedError{Reason: ReasonWrongChain, ByRemote: true, Remote: Hello{ChainID: "bad\nchain"}}
	if got, want := e.Error(), `refused by peer: different chain: peer is on "bad?chain"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
