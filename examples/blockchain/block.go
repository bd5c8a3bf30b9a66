package main

// Teaches: split what can be checked of a message by itself from what needs its
// parent. The first decides whether a peer lied (Reject), the second whether to
// wait (Defer).

import (
	"crypto/ed25519"
	"slices"
	"time"
)

// header is a block without its transactions; its hash is the block's.
type header struct {
	Height   uint64  `json:"height"`
	Slot     uint64  `json:"slot"` // of time: Unix time by slotTime
	Parent   hash    `json:"parent"`
	Content  hash    `json:"content"` // of the transactions
	Proposer address `json:"proposer"`
	Sig      []byte  `json:"sig,omitempty"`
}

type block struct {
	header
	Txs []transaction `json:"txs"`
}

const (
	slotTime    = 2 * time.Second // how long a validator's turn is
	maxBlockTxs = 2000            // some 600 KiB
)

func (h header) hash() hash     { return hashOf(h) }
func (h header) unsigned() hash { h.Sig = nil; return hashOf(h) }

// The chain's constants: who may make blocks, who has coins to begin with, and the
// first block. genesisID tells networks apart: nodes with another one never become
// peers.
var (
	validatorKeys = keysFor("validator", 4)
	accounts      = keysFor("account", 8)
	genesis       = block{header: header{Content: hashOf([]transaction(nil))}}
	genesisID     = string(hashOf([]any{genesis.hash(), addressOf(validatorKeys[0])}))
)

const coins = 1_000_000

func genesisState() state {
	s := state{}
	for _, key := range accounts {
		s[addressOf(key)] = account{Balance: coins}
	}
	return s
}

func slotAt(t time.Time) uint64 { return uint64(t.UnixNano() / int64(slotTime)) }

// propose makes the next block. Its transactions have been executed.
func propose(parent header, slot uint64, txs []transaction, key ed25519.PrivateKey) *block {
	b := &block{Txs: txs, header: header{
		Height: parent.Height + 1, Slot: slot, Parent: parent.hash(), Content: hashOf(txs), Proposer: addressOf(key),
	}}
	b.Sig = ed25519.Sign(key, []byte(b.unsigned()))
	return b
}

// valid is everything that can be said of a header by itself: it is its proposer's
// turn, not in the future, and the proposer has signed it.
func (h header) valid(now time.Time) bool {
	turn := validatorKeys[h.Slot%uint64(len(validatorKeys))]
	return h.Proposer == addressOf(turn) && h.Slot <= slotAt(now.Add(slotTime)) && h.Proposer.verify(h.unsigned(), h.Sig)
}

// follows tells whether a header may stand right after another one.
func (h header) follows(parent header) bool {
	return h.Parent == parent.hash() && h.Height == parent.Height+1 && h.Slot > parent.Slot
}

// valid is header.valid, and that the transactions are those of the header.
func (b *block) valid(now time.Time) bool {
	return b.header.valid(now) && len(b.Txs) <= maxBlockTxs && hashOf(b.Txs) == b.Content &&
		!slices.ContainsFunc(b.Txs, func(tx transaction) bool { return !tx.valid() })
}
