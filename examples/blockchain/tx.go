package main

// Teaches: what is signed is signed by the application, not by the network. A
// transaction proves its sender wherever it comes from, so broadcasts need no
// signatures of their own (Config.SignMessages).

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// hash names transactions and blocks, in hex.
type hash string

func (h hash) short() string { return string(h[:8]) }

// hashOf is the hash of a value's JSON, in which fields keep their order.
func hashOf(v any) hash {
	data, _ := json.Marshal(v) // none of our types fails
	sum := sha256.Sum256(data)
	return hash(hex.EncodeToString(sum[:]))
}

// address is a public key as text.
type address string

func addressOf(key ed25519.PrivateKey) address {
	return address(hex.EncodeToString(key.Public().(ed25519.PublicKey)))
}

// verify tells whether the owner of an address has signed h.
func (a address) verify(h hash, sig []byte) bool {
	key, err := hex.DecodeString(string(a))
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(h), sig)
}

// keysFor makes keys from a name. A real chain does not.
func keysFor(name string, n int) (keys []ed25519.PrivateKey) {
	for i := range n {
		seed := sha256.Sum256(fmt.Appendf(nil, "toy chain: %s %d", name, i))
		keys = append(keys, ed25519.NewKeyFromSeed(seed[:]))
	}
	return keys
}

// transaction moves coins. Nonce counts the transactions of From, so that none is
// executed twice.
type transaction struct {
	From   address `json:"from"`
	To     address `json:"to"`
	Amount uint64  `json:"amount"`
	Nonce  uint64  `json:"nonce"`
	Sig    []byte  `json:"sig,omitempty"`
}

func (t transaction) hash() hash     { return hashOf(t) }
func (t transaction) unsigned() hash { t.Sig = nil; return hashOf(t) }

func (t transaction) signed(key ed25519.PrivateKey) transaction {
	t.From = addressOf(key)
	t.Sig = ed25519.Sign(key, []byte(t.unsigned()))
	return t
}

// valid is everything that can be said of a transaction without the chain.
func (t transaction) valid() bool { return t.Amount > 0 && t.From.verify(t.unsigned(), t.Sig) }

// account is what the chain knows of an address.
type account struct{ Balance, Nonce uint64 }

// state is all accounts after some block.
type state map[address]account

// apply executes a transaction, if it is its sender's next one and can be paid.
func (s state) apply(t transaction) bool {
	from := s[t.From]
	if t.Nonce != from.Nonce || t.Amount > from.Balance {
		return false
	}
	s[t.From] = account{from.Balance - t.Amount, from.Nonce + 1}
	to := s[t.To]
	s[t.To] = account{to.Balance + t.Amount, to.Nonce}
	return true
}
