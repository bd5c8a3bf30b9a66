package main

// Teaches: the chain knows nothing of the network. It takes blocks from whoever
// brings them, in any order that keeps parents first, and decides by itself which
// branch is the best. Every way in ends in add.

import (
	"errors"
	"fmt"
	"maps"
	"sync"
)

var errBadBlock = errors.New("the block does not follow one that is known, or cannot be executed")

// chain is a tree of blocks, the best branch of it, and the state after that.
type chain struct {
	store *store

	mu     sync.Mutex // guards what follows
	known  map[hash]header
	main   []hash // the best branch, by height
	state  state
	reorgs int
}

// openChain reads what a directory has.
func openChain(dir string, sync bool) (*chain, error) {
	s, err := openStore(dir, sync)
	if err != nil {
		return nil, err
	}
	c := &chain{store: s, known: map[hash]header{genesis.hash(): genesis.header}, main: []hash{genesis.hash()}, state: genesisState()}
	err = s.each(func(b *block) error {
		if _, err := c.add(b, false); !errors.Is(err, errBadBlock) { // found bad when its branch became the best
			return err
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return c, nil
}

// add takes a block that has been checked by itself, and saves it unless it comes
// from the store. news is false when it was there already.
func (c *chain) add(b *block, save bool) (news bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := b.hash()
	if _, ok := c.known[h]; ok {
		return false, nil
	}
	if parent, ok := c.known[b.Parent]; !ok || !b.follows(parent) {
		return false, errBadBlock
	}
	if save {
		if err := c.store.put(b); err != nil {
			return false, err
		}
	}
	c.known[h] = b.header
	// The longest branch is the best, and of two the one with the smaller hash, so
	// that all nodes decide alike.
	best := uint64(len(c.main) - 1)
	if b.Height < best || b.Height == best && h > c.main[best] {
		return true, nil // on a branch that may become the best one
	}
	if b.Parent == c.main[len(c.main)-1] {
		if err := execute(c.state, b); err != nil {
			delete(c.known, h)
			return false, err
		}
		c.main = append(c.main, h)
		return true, nil
	}
	return true, c.switchLocked(b)
}

// switchLocked makes the branch that ends in tip the best one. It executes it from
// the beginning: simple, and fast enough for a toy.
func (c *chain) switchLocked(tip *block) error {
	branch := make([]hash, tip.Height+1)
	branch[0] = c.main[0]
	for id := tip.hash(); id != branch[0]; id = c.known[id].Parent {
		branch[c.known[id].Height] = id
	}
	after := genesisState()
	for height := 1; height < len(branch); height++ {
		b, err := c.store.get(uint64(height), branch[height])
		if err == nil {
			err = execute(after, b)
		}
		if err != nil {
			delete(c.known, tip.hash())
			return fmt.Errorf("branch of block %d: %w", tip.Height, err)
		}
	}
	c.main, c.state = branch, after
	c.reorgs++
	return nil
}

func execute(s state, b *block) error {
	for _, tx := range b.Txs {
		if !s.apply(tx) {
			return errBadBlock
		}
	}
	return nil
}

func (c *chain) has(h hash) bool { _, ok := c.header(h); return ok }

func (c *chain) header(h hash) (header, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.known[h]
	return known, ok
}

func (c *chain) head() header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[c.main[len(c.main)-1]]
}

// switches is how often another branch became the best one.
func (c *chain) switches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reorgs
}

// view is a copy of the state after the head, to try transactions on.
func (c *chain) view() (header, state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[c.main[len(c.main)-1]], maps.Clone(c.state)
}

// locator names blocks of the best branch, ever further apart, down to genesis:
// whoever has another branch finds the last common one.
func (c *chain) locator() (ids []hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, step := len(c.main)-1, 1; i > 0; i -= step {
		ids = append(ids, c.main[i])
		if len(ids) > 8 {
			step *= 2
		}
	}
	return append(ids, c.main[0])
}

// after returns headers of the best branch that follow the first block of a locator
// that is on it, at most maxHeaders.
func (c *chain) after(locator []hash) (hs []header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range locator {
		if h, ok := c.known[id]; ok && h.Height < uint64(len(c.main)) && c.main[h.Height] == id {
			for _, next := range c.main[h.Height+1 : min(len(c.main), int(h.Height)+1+maxHeaders)] {
				hs = append(hs, c.known[next])
			}
			break
		}
	}
	return hs
}
