package gossip

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// signedMessage is one of a new author, with its key inside or in its ID.
func signedMessage(t testing.TB, typ int) *rpc.Message {
	t.Helper()
	key, pub, err := crypto.GenerateKeyPairWithReader(typ, 2048, rand.Reader)
	must(t, err)
	id, err := peer.IDFromPublicKey(pub)
	must(t, err)
	a := author{id: id, from: []byte(id), key: key}
	if typ == crypto.RSA {
		a.pub, err = crypto.MarshalPublicKey(pub)
		must(t, err)
	}
	m := &rpc.Message{Data: []byte("data"), Topic: []byte("t")}
	must(t, a.sign(m))
	return m
}

// A key that is known makes no bad message good.
func TestKeyringVerifies(t *testing.T) {
	rsa := signedMessage(t, crypto.RSA).Key
	for _, typ := range []int{crypto.Ed25519, crypto.RSA} {
		good, other := signedMessage(t, typ), signedMessage(t, typ)
		bad := map[string]func(m *rpc.Message){
			"data":               func(m *rpc.Message) { m.Data = []byte("dato") },
			"signature":          func(m *rpc.Message) { m.Signature = other.Signature },
			"author":             func(m *rpc.Message) { m.From = other.From },
			"author and key":     func(m *rpc.Message) { m.From, m.Key = other.From, other.Key },
			"no author":          func(m *rpc.Message) { m.From = []byte("nobody") },
			"key is empty":       func(m *rpc.Message) { m.Key = []byte{} },
			"key is that of RSA": func(m *rpc.Message) { m.Key = rsa },
		}
		if typ == crypto.RSA {
			bad["no key"] = func(m *rpc.Message) { m.Key = nil }
		}
		k := newKeyring()
		for round := range 3 { // the second time its key is known, the third time the other one's too
			for name, spoil := range bad {
				m := *good
				spoil(&m)
				if k.verify(&m) == nil {
					t.Errorf("%d, round %d: %s is wrong, and the signature right", typ, round, name)
				}
			}
			must(t, k.verify(good))
			if round == 1 {
				must(t, k.verify(other))
			}
		}
		if len(k.known) != 2 || k.author(good) != peer.ID(good.From) {
			t.Errorf("%d keys are known, author %s", len(k.known), k.author(good))
		}
	}
}

func TestHostileKeyringIsBounded(t *testing.T) {
	k := newKeyring()
	for i := range 3 * maxKeys {
		k.add(&knownKey{id: peer.ID(fmt.Sprint(i))})
		k.add(&knownKey{id: peer.ID(fmt.Sprint(i))}) // gives way to itself
	}
	if len(k.known) != maxKeys {
		t.Errorf("%d keys are kept", len(k.known))
	}
	// Protobuf allows fields that nobody knows: a key may be as long as a message.
	m := signedMessage(t, crypto.RSA)
	m.Key = append(bytes.Clone(m.Key), append([]byte{0x7a, 0x80, 0x40}, make([]byte, 8<<10)...)...)
	k = newKeyring()
	must(t, k.verify(m))
	if len(k.known) != 0 {
		t.Errorf("a key of %d bytes is kept", len(m.Key))
	}
}

// What is kept is not the message.
func TestKeyringKeepsNoMessage(t *testing.T) {
	for _, typ := range []int{crypto.Ed25519, crypto.RSA} {
		k, m := newKeyring(), signedMessage(t, typ)
		sent := *m
		sent.From, sent.Key = bytes.Clone(m.From), bytes.Clone(m.Key)
		must(t, k.verify(&sent))
		clear(sent.From)
		clear(sent.Key)
		must(t, k.verify(m))
		if len(k.known) != 1 {
			t.Errorf("%d keys are known", len(k.known))
		}
	}
}

// A signature is verified once, however often the message is validated.
func TestSignatureIsVerifiedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var judged atomic.Int32
		ns := w.nodes(2, func(c *Config, tx *declared) {
			c.Identity = Signed
			tx.validate = func(_ context.Context, m Message) Verdict {
				if m.raw.Wire != nil {
					t.Error("a message that was verified is to be verified again")
				}
				if judged.Add(1) == 1 {
					return Defer("parent")
				}
				return Accept()
			}
		})
		w.connect(ns[0].h, ns[1].h)
		settle()
		ns[0].publish(t, "child")
		settle()
		ns[1].e.Resume("parent")
		settle()
		wantOnce(t, ns[1:], "child")
		if n := judged.Load(); n != 2 {
			t.Errorf("judged %d times", n)
		}
	})
}

// To verify allocates nothing once the author is known.
func TestVerifyAllocates(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector has pools lose what they hold")
	}
	k, m := newKeyring(), signedMessage(t, crypto.Ed25519)
	must(t, k.verify(m))
	if n := testing.AllocsPerRun(100, func() { _ = k.verify(m) }); n > 1 { // a collection may empty the pool
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	k, m := newKeyring(), signedMessage(b, crypto.Ed25519)
	b.ReportAllocs()
	for b.Loop() {
		must(b, k.verify(m))
	}
}
