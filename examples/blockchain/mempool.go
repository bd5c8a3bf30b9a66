package main

// Teaches: a Subscriber of your own. The dispatcher hands every transaction that
// arrives to Deliver, on a goroutine of this subscriber; what Deliver does not keep
// up with waits in a queue, and when that is full, those who bring more wait.

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/go-nebnet/nebnet/dispatcher"
)

const maxPending = 10_000

// mempool is the transactions that wait for a block. It is a
// dispatcher.Subscriber.
type mempool struct {
	mu      sync.Mutex // guards pending
	pending map[hash]transaction
}

// These five methods make it a subscriber.
func (p *mempool) ID() any                          { return p }
func (p *mempool) MessageType() string              { return newTx.Name() }
func (p *mempool) DoFilter() bool                   { return true }
func (p *mempool) Weight() dispatcher.MessageWeight { return 1 }

// Deliver takes what the validator of node.go has let in.
func (p *mempool) Deliver(m dispatcher.Message) bool {
	var tx transaction
	if json.Unmarshal(m.Data(), &tx) == nil {
		p.add(tx)
	}
	return true
}

func (p *mempool) add(tx transaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) < maxPending {
		p.pending[tx.hash()] = tx
	}
}

func (p *mempool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending)
}

// forget drops what can never be executed any more.
func (p *mempool) forget(s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.pending, func(_ hash, tx transaction) bool { return tx.Nonce < s[tx.From].Nonce })
}

// pick executes what can be on a state, and returns it.
func (p *mempool) pick(s state) (txs []transaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Collect(maps.Values(p.pending))
	slices.SortFunc(all, func(a, b transaction) int { return cmp.Compare(a.Nonce, b.Nonce) })
	for _, tx := range all {
		if len(txs) < maxBlockTxs && s.apply(tx) {
			txs = append(txs, tx)
		}
	}
	return txs
}
