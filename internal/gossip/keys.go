package gossip

import (
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// keyring keeps the keys of authors whose signatures were good. A key that is read out of
// each message is allocated for each message; with it, verifying allocates nothing
// (go test -run '^$' -bench Verify ./internal/gossip).
type keyring struct {
	mu    sync.Mutex // guards known
	known map[string]*knownKey
}

// knownKey is one author's.
type knownKey struct {
	id  peer.ID
	key crypto.PubKey
	raw string // key as messages carry it; empty if the ID holds it
}

const (
	// maxKeys bounds the authors that are known. Beyond it any one gives way: whoever
	// signs with many keys has each of them read again, as if there were no keyring.
	maxKeys = 1024
	// maxKeyBytes is how long ID and key may be to be kept: an RSA key of 8,192 bits
	// takes 1 KiB, one with padding as much as a message may have.
	maxKeyBytes = 4 << 10
)

func newKeyring() *keyring { return &keyring{known: make(map[string]*knownKey)} }

func (k *keyring) get(from []byte) *knownKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[string(from)]
}

func (k *keyring) add(a *knownKey) {
	if len(a.id)+len(a.raw) > maxKeyBytes {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxKeys && k.known[string(a.id)] == nil {
		for id := range k.known {
			delete(k.known, id)
			break
		}
	}
	k.known[string(a.id)] = a
}

// author is who a message says has written it.
func (k *keyring) author(m *rpc.Message) peer.ID {
	if a := k.get(m.From); a != nil {
		return a.id
	}
	return peer.ID(m.From)
}

var errUnsigned = errors.New("signature is not that of the author")

// verify checks the signature of a message that has all that it needs.
func (k *keyring) verify(m *rpc.Message) error {
	a := k.get(m.From)
	known := a != nil && a.raw == string(m.Key) && (a.raw == "") == (m.Key == nil)
	if !known {
		var err error
		if a, err = readKey(m); err != nil {
			return err
		}
	}
	buf := batches.Get().(*[]byte)
	b := rpc.AppendSigned((*buf)[:0], m)
	ok, err := a.key.Verify(b, m.Signature)
	putBatch(buf, b)
	if err != nil || !ok {
		return errUnsigned
	}
	if !known {
		k.add(a)
	}
	return nil
}

// readKey finds the key of a message's author. Nothing of it points into the message.
func readKey(m *rpc.Message) (*knownKey, error) {
	id, err := peer.IDFromBytes(m.From)
	if err != nil {
		return nil, err
	}
	a := &knownKey{id: id, raw: string(m.Key)}
	if m.Key == nil {
		a.key, err = id.ExtractPublicKey()
	} else if a.key, err = crypto.UnmarshalPublicKey([]byte(a.raw)); err == nil && !id.MatchesPublicKey(a.key) {
		err = errUnsigned
	}
	return a, err
}
